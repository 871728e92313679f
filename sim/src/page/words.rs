//! Lines of a story as numbers: every word is written down once.

use std::collections::BTreeMap;

/// The words so far; number 0 ends a line.
#[derive(Default)]
pub struct Words {
    numbers: BTreeMap<String, usize>,
    all: Vec<String>,
}

impl Words {
    /// Appends the numbers of the words of `line`, and the 0 that ends it.
    pub fn intern(&mut self, line: &str, numbers: &mut Vec<usize>) {
        for word in line.split_whitespace() {
            let number = match self.numbers.get(word) {
                Some(number) => *number,
                None => {
                    self.all.push(word.to_owned());
                    self.numbers.insert(word.to_owned(), self.all.len());
                    self.all.len()
                }
            };
            numbers.push(number);
        }
        numbers.push(0);
    }

    /// All words: number n is at place n - 1.
    pub fn all(&self) -> &[String] {
        &self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_written_once_and_a_line_ends() {
        let (mut words, mut numbers) = (Words::default(), Vec::new());
        words.intern("ack sent  count[0]", &mut numbers);
        words.intern("ack received", &mut numbers);
        assert_eq!(numbers, [1, 2, 3, 0, 1, 4, 0]);
        assert_eq!(words.all(), ["ack", "sent", "count[0]", "received"]);
    }
}

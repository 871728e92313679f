//! Finds out the layout of a type by running its `Deserialize` on a deserializer that invents values.
//!
//! One run shows one path through the type: it chooses one variant of each enum, and one element of each list. So the tree of
//! what is known is kept, and the type is deserialised again until nothing in the tree is unknown:
//!
//! 1. A leaf is known once it was asked for. If a run finds out nothing because the type refused what was invented, the next
//!    run invents another value for the last leaf ([`Samples`]): types that parse what they read (dates, addresses) are
//!    traced that way.
//! 2. An option is `Some` and a list has one element while what they hold is unknown. After that they are empty.
//! 3. An enum takes the first variant that is not known. After that it takes one that was deserialised without an error.
//! 4. A run that adds nothing, when there is nothing else to invent, ends the trace: the type is untraceable.
//!
//! Bounds: [`DEPTH_MAX`] levels (more than that is a recursive type), [`PARTS_MAX`] parts. A `Deserialize` that panics at an
//! invented value is untraceable as well.

use super::{DEPTH_MAX, Token, Untraceable};
use serde::de::value::U32Deserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A type of more parts is not traced.
const PARTS_MAX: usize = 4096;

/// The tokens of `T`, in pre-order.
pub fn trace<T: DeserializeOwned>() -> Result<Vec<Token>, Untraceable> {
    let mut root = Node::default();
    let mut run = Run::default();
    loop {
        let tracer = Tracer { node: &mut root, run: &run, depth: 0 };
        let Ok(result) = catch_unwind(AssertUnwindSafe(|| T::deserialize(tracer).map(drop))) else {
            return Err(Untraceable::Unknown("it panics at a value that was invented to trace it".to_owned()));
        };
        let Run { progress, visited, parts, fatal, refused, another } = run;
        if let Some(fatal) = fatal.into_inner() {
            return Err(fatal);
        }
        if root.is_known() {
            let mut tokens = Vec::new();
            root.write(&mut tokens);
            return Ok(tokens);
        }
        let refusal = refused.into_inner().or(result.err().map(|trouble| (visited.get(), trouble)));
        run = match refusal {
            _ if progress.get() => Run { parts, ..Run::default() },
            Some((leaves, _)) if leaves > 0 && another != Some(leaves - 1) => {
                Run { another: Some(leaves - 1), parts, ..Run::default() }
            }
            Some((_, Trouble(cause))) => return Err(Untraceable::Unknown(cause)),
            None => return Err(Untraceable::Unknown("it does not read all of itself".to_owned())),
        };
    }
}

/// What is known of one part of the type.
#[derive(Default)]
struct Node {
    /// What the part is, once it was asked for.
    token: Option<Token>,
    children: Vec<Node>,
    /// Which value is invented next, for a leaf.
    sample: usize,
    /// A variant that was deserialised without an error, for an enum.
    sound: Option<usize>,
}

impl Node {
    fn is_known(&self) -> bool {
        self.token.is_some() && self.children.iter().all(Self::is_known)
    }

    fn write(&self, out: &mut Vec<Token>) {
        out.extend(self.token.clone());
        self.children.iter().for_each(|child| child.write(out));
    }
}

/// What all parts of one run share.
#[derive(Default)]
struct Run {
    /// Whether this run found out anything.
    progress: Cell<bool>,
    /// How many leaves were asked for.
    visited: Cell<usize>,
    /// Parts that are known to be there, in this run and those before.
    parts: Cell<usize>,
    /// What ends the trace, whatever becomes of the error on its way through the type.
    fatal: RefCell<Option<Untraceable>>,
    /// The first error that did not end the run, and how many leaves had been asked for.
    refused: RefCell<Option<(usize, Trouble)>>,
    /// The leaf for which another value is invented, because the last run failed behind it.
    another: Option<usize>,
}

impl Run {
    fn fatal(&self, what: Untraceable) -> Trouble {
        self.fatal.borrow_mut().get_or_insert(what);
        Self::over()
    }

    fn is_over(&self) -> bool {
        self.fatal.borrow().is_some()
    }

    fn over() -> Trouble {
        Trouble("the trace is over".to_owned())
    }

    fn unknown(&self, what: impl Into<String>) -> Trouble {
        self.fatal(Untraceable::Unknown(what.into()))
    }
}

/// Why a run ended.
#[derive(Debug)]
struct Trouble(String);

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Trouble {}

impl serde::de::Error for Trouble {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// Deserialises one part.
struct Tracer<'a> {
    node: &'a mut Node,
    run: &'a Run,
    depth: usize,
}

impl<'a> Tracer<'a> {
    /// Refuses to go on once the trace is over: a run that went on would visit each branch of a recursive type.
    fn descend(&self) -> Result<(), Trouble> {
        if self.run.is_over() {
            return Err(Run::over());
        }
        if self.depth > DEPTH_MAX {
            return Err(self.run.unknown(format!("it nests more than {DEPTH_MAX} levels: is it recursive?")));
        }
        Ok(())
    }

    /// Notes what the part is. It must be the same in each run.
    fn becomes(self, token: Token) -> Result<Self, Trouble> {
        self.descend()?;
        match &self.node.token {
            Some(known) if *known == token => return Ok(self),
            Some(known) => {
                let what = format!("it asks for {} where it asked for {} before", token.word(), known.word());
                return Err(self.run.unknown(what));
            }
            None => {}
        }
        let children = token.children();
        self.run.parts.set(self.run.parts.get().saturating_add(children));
        if self.run.parts.get() > PARTS_MAX {
            return Err(self.run.unknown(format!("it has more than {PARTS_MAX} parts")));
        }
        self.node.children.resize_with(children, Node::default);
        self.node.token = Some(token);
        self.run.progress.set(true);
        Ok(self)
    }

    /// A part without children.
    fn leaf<T: Copy, V>(
        self,
        token: Token,
        samples: &[T],
        visit: impl FnOnce(T) -> Result<V, Trouble>,
    ) -> Result<V, Trouble> {
        let Self { node, run, .. } = self.becomes(token)?;
        let leaf = run.visited.replace(run.visited.get() + 1);
        if run.another == Some(leaf) && node.sample + 1 < samples.len() {
            node.sample += 1;
            run.progress.set(true);
        }
        visit(samples[node.sample])
    }

    fn child(&mut self, index: usize) -> Tracer<'_> {
        Tracer { node: &mut self.node.children[index], run: self.run, depth: self.depth + 1 }
    }

    /// The children one after the other.
    fn sequence<'de, V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Trouble> {
        let value = visitor.visit_seq(Children { parent: &mut self, next: 0 })?;
        if let Some(Token::Struct { name, .. }) = &self.node.token
            && self.node.children.iter().any(|child| child.token.is_none())
        {
            // Names include aliases, and nothing tells which is which.
            return Err(self.run.unknown(format!("{name} reads fewer fields than it names (serde's alias)")));
        }
        Ok(value)
    }

    fn undecodable(&self) -> Trouble {
        let what = "it asks what comes next (serde's flatten, untagged or ignored content)";
        self.run.fatal(Untraceable::Undecodable(what.to_owned()))
    }
}

/// Invented values of a leaf. A type that refuses one is given the next.
struct Samples;

impl Samples {
    const STRINGS: [&'static str; 8] = [
        "",
        "a",
        "1",
        "1970-01-01T00:00:00Z",
        "1970-01-01",
        "00:00:00",
        "00000000-0000-0000-0000-000000000000",
        "http://127.0.0.1/",
    ];
    const BYTES: [&'static [u8]; 6] = [&[], &[0], &[0; 4], &[0; 8], &[0; 16], &[0; 32]];
}

macro_rules! leaves {
    ($($deserialize:ident $visit:ident $token:ident $samples:expr;)*) => {
        $(fn $deserialize<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Trouble> {
            self.leaf(Token::$token, &$samples, |sample| visitor.$visit(sample))
        })*
    };
}

impl<'de> Deserializer<'de> for Tracer<'_> {
    type Error = Trouble;

    leaves! {
        deserialize_bool visit_bool Bool [false, true];
        deserialize_i8 visit_i8 I8 [1, 0];
        deserialize_i16 visit_i16 I16 [1, 0];
        deserialize_i32 visit_i32 I32 [1, 0];
        deserialize_i64 visit_i64 I64 [1, 0];
        deserialize_i128 visit_i128 I128 [1, 0];
        deserialize_u8 visit_u8 U8 [1, 0];
        deserialize_u16 visit_u16 U16 [1, 0];
        deserialize_u32 visit_u32 U32 [1, 0];
        deserialize_u64 visit_u64 U64 [1, 0];
        deserialize_u128 visit_u128 U128 [1, 0];
        deserialize_f32 visit_f32 F32 [1.0, 0.0];
        deserialize_f64 visit_f64 F64 [1.0, 0.0];
        deserialize_char visit_char Char ['a', '0'];
        deserialize_str visit_str String Samples::STRINGS;
        deserialize_bytes visit_bytes Bytes Samples::BYTES;
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Trouble> {
        self.leaf(Token::String, &Samples::STRINGS, |sample| visitor.visit_string(sample.to_owned()))
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Trouble> {
        self.leaf(Token::Bytes, &Samples::BYTES, |sample| visitor.visit_byte_buf(sample.to_owned()))
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Trouble> {
        self.leaf(Token::Unit, &[()], |()| visitor.visit_unit())
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Trouble> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Trouble> {
        self.descend()?;
        visitor.visit_newtype_struct(Tracer { depth: self.depth + 1, ..self })
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Trouble> {
        let mut this = self.becomes(Token::Option)?;
        if this.node.is_known() { visitor.visit_none() } else { visitor.visit_some(this.child(0)) }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Trouble> {
        let mut this = self.becomes(Token::List)?;
        visitor.visit_seq(Elements { list: &mut this, given: false })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Trouble> {
        let mut this = self.becomes(Token::Map)?;
        visitor.visit_map(Elements { list: &mut this, given: false })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Trouble> {
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        self.becomes(Token::Tuple(len))?.sequence(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Trouble> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Trouble> {
        self.becomes(Token::Struct { name: name.to_owned(), fields: owned(fields) })?.sequence(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Trouble> {
        let this = self.becomes(Token::Enum { name: name.to_owned(), variants: owned(variants) })?;
        let unknown = this.node.children.iter().position(|child| !child.is_known());
        let index = unknown.or(this.node.sound).unwrap_or(0);
        let Tracer { node, run, depth } = this;
        let Some(child) = node.children.get_mut(index) else {
            return Err(run.unknown(format!("{name} has no variants")));
        };
        let value = visitor.visit_enum(Chosen { index, content: Tracer { node: child, run, depth: depth + 1 } })?;
        node.sound = Some(index);
        Ok(value)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Trouble> {
        Err(self.undecodable())
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Trouble> {
        Err(self.undecodable())
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Trouble> {
        Err(self.undecodable())
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The children of a tuple or struct.
struct Children<'a, 'b> {
    parent: &'a mut Tracer<'b>,
    next: usize,
}

impl<'de> SeqAccess<'de> for Children<'_, '_> {
    type Error = Trouble;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Trouble> {
        if self.next == self.parent.node.children.len() {
            return Ok(None);
        }
        self.next += 1;
        seed.deserialize(self.parent.child(self.next - 1)).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.parent.node.children.len() - self.next)
    }
}

/// The elements of a list or the entries of a map: one while it is unknown what they are, else none.
struct Elements<'a, 'b> {
    list: &'a mut Tracer<'b>,
    given: bool,
}

impl Elements<'_, '_> {
    /// One that is refused is left out, and the run goes on with what comes behind the list.
    fn first<'de, T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Trouble> {
        if std::mem::replace(&mut self.given, true) || self.list.node.is_known() {
            return Ok(None);
        }
        match seed.deserialize(self.list.child(0)) {
            Ok(value) => Ok(Some(value)),
            Err(trouble) if self.list.run.is_over() => Err(trouble),
            Err(trouble) => {
                let Run { refused, visited, .. } = self.list.run;
                refused.borrow_mut().get_or_insert((visited.get(), trouble));
                Ok(None)
            }
        }
    }
}

impl<'de> SeqAccess<'de> for Elements<'_, '_> {
    type Error = Trouble;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Trouble> {
        self.first(seed)
    }
}

impl<'de> MapAccess<'de> for Elements<'_, '_> {
    type Error = Trouble;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Trouble> {
        self.first(seed)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Trouble> {
        seed.deserialize(self.list.child(1))
    }
}

/// One variant of an enum.
struct Chosen<'a> {
    index: usize,
    content: Tracer<'a>,
}

impl<'de, 'a> EnumAccess<'de> for Chosen<'a> {
    type Error = Trouble;
    type Variant = Tracer<'a>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Tracer<'a>), Trouble> {
        let number: U32Deserializer<Trouble> = (self.index as u32).into_deserializer();
        match seed.deserialize(number) {
            Ok(variant) => Ok((variant, self.content)),
            // Names include aliases, and nothing tells which is which.
            Err(trouble) => {
                let what = format!("it has fewer variants than it names (serde's alias): {trouble}");
                Err(self.content.run.unknown(what))
            }
        }
    }
}

impl<'de> VariantAccess<'de> for Tracer<'_> {
    type Error = Trouble;

    fn unit_variant(self) -> Result<(), Trouble> {
        self.leaf(Token::Unit, &[()], |()| Ok(()))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Trouble> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Trouble> {
        self.deserialize_tuple(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Trouble> {
        self.deserialize_struct("", fields, visitor)
    }
}

//! The layout of a type: what its encoded bytes consist of, field by field, as data.
//!
//! The codec of state writes no names and no types: bytes of `{ orders, cents }` decode as `{ cents, orders }` without an
//! error. So a manifest stores the layout of every key and value beside their bytes, and a restore compares layouts
//! ([`difference`]) before it decodes anything.
//!
//! 1. [`Layout::of`] traces a type: it runs the type's `Deserialize` on a deserializer that invents values and notes what is
//!    asked for (`trace`).
//! 2. A layout is stored as its tokens in pre-order. That is flat, so damaged bytes cannot nest without bound.
//! 3. Two layouts are equal if their fields have the same names and types in the same order. The names of structs and enums
//!    are for people and are not compared: a type may be renamed or moved to another module.
//!
//! Newtype structs (`struct Cents(u64)`) have the layout of their content, because they have its bytes.
//! Does not handle: a `Serialize` that writes something else than the `Deserialize` of the same type reads.

mod difference;
mod trace;

pub use difference::difference;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;

/// One node of a layout. Its children follow it in pre-order.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Token {
    /// No bytes: `()`, a unit struct.
    Unit,
    /// A `bool`.
    Bool,
    /// An `i8`.
    I8,
    /// An `i16`.
    I16,
    /// An `i32`.
    I32,
    /// An `i64`.
    I64,
    /// An `i128`.
    I128,
    /// A `u8`.
    U8,
    /// A `u16`.
    U16,
    /// A `u32`.
    U32,
    /// A `u64`.
    U64,
    /// A `u128`.
    U128,
    /// An `f32`.
    F32,
    /// An `f64`.
    F64,
    /// A `char`.
    Char,
    /// Text.
    String,
    /// A byte string.
    Bytes,
    /// Nothing, or the child.
    Option,
    /// Any number of the child: a list or a set.
    List,
    /// Any number of pairs of the first child, the key, and the second, the value. Sorted by key bytes where it is encoded.
    Map,
    /// As many children.
    Tuple(u32),
    /// A child for each field.
    Struct {
        /// The type's name, for people.
        name: String,
        /// Names of the fields, in the order of their bytes.
        fields: Vec<String>,
    },
    /// A child for each variant: its content.
    Enum {
        /// The type's name, for people.
        name: String,
        /// Names of the variants, in the order of their numbers.
        variants: Vec<String>,
    },
    /// Bytes of which nothing is known but the version that the user gives.
    Opaque,
}

impl Token {
    /// How many children follow.
    fn children(&self) -> usize {
        match self {
            Self::Option | Self::List => 1,
            Self::Map => 2,
            Self::Tuple(n) => *n as usize,
            Self::Struct { fields: names, .. } | Self::Enum { variants: names, .. } => names.len(),
            Self::Unit | Self::Bool | Self::Char | Self::String | Self::Bytes | Self::Opaque => 0,
            Self::I8 | Self::I16 | Self::I32 | Self::I64 | Self::I128 => 0,
            Self::U8 | Self::U16 | Self::U32 | Self::U64 | Self::U128 | Self::F32 | Self::F64 => 0,
        }
    }

    /// A type without children, for people.
    fn word(&self) -> &'static str {
        match self {
            Self::Unit => "()",
            Self::Bool => "bool",
            Self::I8 => "i8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::I128 => "i128",
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::U64 => "u64",
            Self::U128 => "u128",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::Char => "char",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Option => "option",
            Self::List => "list",
            Self::Map => "map",
            Self::Tuple(_) => "tuple",
            Self::Struct { .. } => "struct",
            Self::Enum { .. } => "enum",
            Self::Opaque => "opaque",
        }
    }
}

/// The layout of a type.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Deserialize)]
#[serde(transparent)]
pub struct Layout(Vec<Token>);

/// Why a type has no layout.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Untraceable {
    /// Its bytes can be decoded, but what they consist of cannot be found out. A version has to stand for the layout.
    Unknown(String),
    /// The codec of state could never decode it.
    Undecodable(String),
}

impl Layout {
    /// Bytes of which nothing is known.
    pub const OPAQUE: Self = Self(Vec::new());

    /// The layout of `T`, found out by running its `Deserialize`.
    pub fn of<T: DeserializeOwned>() -> Result<Self, Untraceable> {
        trace::trace::<T>().map(Self)
    }

    /// The layout of a type of this crate, which is known to have one.
    pub(crate) fn known<T: DeserializeOwned>() -> Self {
        Self::of::<T>().expect("a type that was traced in a test")
    }

    /// Whether nothing is known.
    pub fn is_opaque(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a value may hold a map, whose entries have no order of their own.
    pub fn may_hold_map(&self) -> bool {
        self.is_opaque() || self.0.iter().any(|token| matches!(token, Token::Map | Token::Opaque))
    }

    /// The tokens, in pre-order.
    pub fn tokens(&self) -> &[Token] {
        if self.is_opaque() { &[Token::Opaque] } else { &self.0 }
    }
}

/// People and their tools are given text; stored bytes are tokens.
impl Serialize for Layout {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, &mut self.tokens(), DEPTH_MAX)
    }
}

/// Deeper layouts are neither traced nor shown. A type that nests deeper is most likely recursive.
const DEPTH_MAX: usize = 64;

/// Writes the first layout of `tokens`, and takes it from them. Damaged tokens are shown as far as they go.
fn write(f: &mut impl fmt::Write, tokens: &mut &[Token], depth: usize) -> fmt::Result {
    let Some((token, rest)) = tokens.split_first().filter(|_| depth > 0) else {
        return f.write_str("…");
    };
    *tokens = rest;
    let mut child = |f: &mut _| write(f, tokens, depth - 1);
    match token {
        Token::Option | Token::List => {
            write!(f, "{}<", token.word())?;
            child(f)?;
            f.write_char('>')
        }
        Token::Map => {
            f.write_str("map<")?;
            child(f)?;
            f.write_str(", ")?;
            child(f)?;
            f.write_char('>')
        }
        Token::Tuple(n) => {
            f.write_char('(')?;
            for index in 0..*n {
                f.write_str(if index == 0 { "" } else { ", " })?;
                write(f, tokens, depth - 1)?;
                // A damaged token may claim any number.
                if tokens.is_empty() && index + 1 < *n {
                    f.write_str(", …")?;
                    break;
                }
            }
            f.write_char(')')
        }
        Token::Struct { name, fields } => {
            write!(f, "{name}{}{{", if name.is_empty() { "" } else { " " })?;
            for (index, field) in fields.iter().enumerate() {
                write!(f, "{} {field}: ", if index == 0 { "" } else { "," })?;
                child(f)?;
            }
            f.write_str(" }")
        }
        Token::Enum { name, variants } => {
            write!(f, "{name} {{")?;
            for (index, variant) in variants.iter().enumerate() {
                write!(f, "{} {variant}", if index == 0 { "" } else { " |" })?;
                let content: &[Token] = tokens;
                match content.split_first() {
                    Some((Token::Unit, rest)) => *tokens = rest,
                    Some(_) | None => {
                        f.write_str(": ")?;
                        write(f, tokens, depth - 1)?;
                    }
                }
            }
            f.write_str(" }")
        }
        leaf => f.write_str(leaf.word()),
    }
}

#[cfg(test)]
mod tests;

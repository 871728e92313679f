//! The canonical form of a value: bincode's bytes, with the entries of each map sorted by the bytes of their keys.
//!
//! A hash map is the same map whatever the order in which it lists its entries, and that order changes from process to
//! process. Snapshots are compared by their bytes, so equal state must have equal bytes.
//!
//! The bytes are valid bincode: they are decoded as all others are. Entries whose keys have equal bytes keep their order. A
//! set is a list to serde, and its order is kept: a hash set encodes differently each time.
//! Does not handle: a type that serialises as a map but gives the order of its entries a meaning. That order is lost; such a
//! type has to be stored as a list of pairs.

use bincode::{Error, ErrorKind};
use serde::Serialize;
use serde::ser::{
    SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple, SerializeTupleStruct,
    SerializeTupleVariant, Serializer,
};

/// Appends the canonical form of `value`.
pub fn append<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), Error> {
    value.serialize(Canonical(out))
}

/// Appends the bytes of one value, and of its parts one after the other.
struct Canonical<'a>(&'a mut Vec<u8>);

impl Canonical<'_> {
    fn length(&mut self, length: usize) {
        self.0.extend_from_slice(&(length as u64).to_le_bytes());
    }

    fn variant(&mut self, number: u32) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn part<T: Serialize + ?Sized>(&mut self, part: &T) -> Result<(), Error> {
        part.serialize(Canonical(self.0))
    }
}

macro_rules! numbers {
    ($($serialize:ident $type:ty;)*) => {
        $(fn $serialize(self, number: $type) -> Result<(), Error> {
            self.0.extend_from_slice(&number.to_le_bytes());
            Ok(())
        })*
    };
}

impl<'a> Serializer for Canonical<'a> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Entries<'a>;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    numbers! {
        serialize_i8 i8; serialize_i16 i16; serialize_i32 i32; serialize_i64 i64; serialize_i128 i128;
        serialize_u8 u8; serialize_u16 u16; serialize_u32 u32; serialize_u64 u64; serialize_u128 u128;
        serialize_f32 f32; serialize_f64 f64;
    }

    fn serialize_bool(self, value: bool) -> Result<(), Error> {
        self.serialize_u8(u8::from(value))
    }

    fn serialize_char(self, value: char) -> Result<(), Error> {
        self.0.extend_from_slice(value.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Result<(), Error> {
        self.serialize_bytes(value.as_bytes())
    }

    fn serialize_bytes(mut self, value: &[u8]) -> Result<(), Error> {
        self.length(value.len());
        self.0.extend_from_slice(value);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Error> {
        self.serialize_u8(0)
    }

    fn serialize_some<T: Serialize + ?Sized>(mut self, value: &T) -> Result<(), Error> {
        self.0.push(1);
        self.part(value)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
        Ok(())
    }

    fn serialize_unit_variant(mut self, _: &'static str, number: u32, _: &'static str) -> Result<(), Error> {
        self.variant(number);
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(mut self, _: &'static str, value: &T) -> Result<(), Error> {
        self.part(value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        mut self,
        _: &'static str,
        number: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.variant(number);
        self.part(value)
    }

    fn serialize_seq(mut self, length: Option<usize>) -> Result<Self, Error> {
        self.length(length.ok_or(ErrorKind::SequenceMustHaveLength)?);
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, Error> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, Error> {
        Ok(self)
    }

    fn serialize_tuple_variant(
        mut self,
        _: &'static str,
        number: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Error> {
        self.variant(number);
        Ok(self)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Entries<'a>, Error> {
        Ok(Entries { out: self.0, arena: Vec::new(), spans: Vec::new() })
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Error> {
        Ok(self)
    }

    fn serialize_struct_variant(
        mut self,
        _: &'static str,
        number: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Error> {
        self.variant(number);
        Ok(self)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

macro_rules! parts {
    ($($trait:ident $method:ident ($($name:ty)?);)*) => {
        $(impl $trait for Canonical<'_> {
            type Ok = ();
            type Error = Error;

            fn $method<T: Serialize + ?Sized>(&mut self, $(_: $name,)? part: &T) -> Result<(), Error> {
                self.part(part)
            }

            fn end(self) -> Result<(), Error> {
                Ok(())
            }
        })*
    };
}

parts! {
    SerializeSeq serialize_element ();
    SerializeTuple serialize_element ();
    SerializeTupleStruct serialize_field ();
    SerializeTupleVariant serialize_field ();
    SerializeStruct serialize_field (&'static str);
    SerializeStructVariant serialize_field (&'static str);
}

/// The entries of a map, until the last is known.
pub struct Entries<'a> {
    out: &'a mut Vec<u8>,
    arena: Vec<u8>,
    /// Where each entry begins in the arena, where its key ends, and where it ends.
    spans: Vec<(usize, usize, usize)>,
}

impl SerializeMap for Entries<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        let start = self.arena.len();
        append(key, &mut self.arena)?;
        self.spans.push((start, self.arena.len(), self.arena.len()));
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        append(value, &mut self.arena)?;
        let (.., end) = self.spans.last_mut().expect("a value comes behind its key");
        *end = self.arena.len();
        Ok(())
    }

    fn end(self) -> Result<(), Error> {
        let Self { out, arena, mut spans } = self;
        spans.sort_by(|a, b| arena[a.0..a.1].cmp(&arena[b.0..b.1]));
        Canonical(out).length(spans.len());
        for (start, _, end) in spans {
            out.extend_from_slice(&arena[start..end]);
        }
        Ok(())
    }
}

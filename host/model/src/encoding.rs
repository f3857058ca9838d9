//! Serde encodings of values that binary formats write differently from text formats.

/// Bytes: an array of numbers in text formats, raw bytes in binary ones.
pub(crate) mod bytes {
    use std::fmt;

    use serde::de::{Error, Visitor};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { bytes.serialize(serializer) } else { serializer.serialize_bytes(bytes) }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }

            fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
                Ok(bytes)
            }
        }

        if deserializer.is_human_readable() {
            Vec::deserialize(deserializer)
        } else {
            deserializer.deserialize_bytes(Bytes)
        }
    }
}

/// [`bytes`] for an optional value.
pub(crate) mod optional_bytes {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize)]
    struct Borrowed<'a>(#[serde(serialize_with = "super::bytes::serialize")] &'a [u8]);

    #[derive(Deserialize)]
    struct Owned(#[serde(deserialize_with = "super::bytes::deserialize")] Vec<u8>);

    pub fn serialize<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
        bytes.as_deref().map(Borrowed).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
        Ok(Option::<Owned>::deserialize(deserializer)?.map(|owned| owned.0))
    }
}

/// Free-form attributes: a map in text formats, JSON text in binary ones, which can't hold values of unknown type.
pub(crate) mod attributes {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};
    use serde_json::Value;

    pub fn serialize<S: Serializer>(attributes: &BTreeMap<String, Value>, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            attributes.serialize(serializer)
        } else if attributes.is_empty() {
            "".serialize(serializer)
        } else {
            serde_json::to_string(attributes).map_err(S::Error::custom)?.serialize(serializer)
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Value>, D::Error> {
        if deserializer.is_human_readable() {
            BTreeMap::deserialize(deserializer)
        } else {
            match String::deserialize(deserializer)? {
                json if json.is_empty() => Ok(BTreeMap::new()),
                json => serde_json::from_str(&json).map_err(D::Error::custom),
            }
        }
    }
}

/// A value that may not have been measured: `null` or absent in text formats, 0 in binary ones, whose
/// [`Additions`](crate::Additions) say which were not measured.
pub(crate) mod measurement {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<T, S>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error>
    where
        T: Serialize + Default + Copy,
        S: Serializer,
    {
        if serializer.is_human_readable() {
            value.serialize(serializer)
        } else {
            value.unwrap_or_default().serialize(serializer)
        }
    }

    pub fn deserialize<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        T: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        if deserializer.is_human_readable() {
            Option::deserialize(deserializer)
        } else {
            T::deserialize(deserializer).map(Some)
        }
    }
}

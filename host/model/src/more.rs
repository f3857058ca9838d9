use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// Fields that were sent and that the model does not name, by name. Usually there are none, which takes one word of memory.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
#[allow(clippy::box_collection)] // A map of its own takes three words, in six places of each event.
pub struct More(Option<Box<BTreeMap<String, Value>>>);

impl More {
    /// Without fields.
    pub const EMPTY: Self = Self(None);

    /// The value of a field.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.as_ref()?.get(name)
    }

    /// Sets a field, and returns its value before.
    pub fn insert(&mut self, name: impl Into<String>, value: Value) -> Option<Value> {
        self.0.get_or_insert_default().insert(name.into(), value)
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|fields| fields.is_empty())
    }

    /// The map that holds the fields, if there are some.
    pub fn as_map_mut(&mut self) -> Option<&mut BTreeMap<String, Value>> {
        self.0.as_deref_mut()
    }

    /// The fields, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.0.iter().flat_map(|fields| fields.iter())
    }
}

impl FromIterator<(String, Value)> for More {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(fields: I) -> Self {
        let fields: BTreeMap<_, _> = fields.into_iter().collect();
        Self((!fields.is_empty()).then(|| fields.into()))
    }
}

/// By names and, of equal names, by the JSON of the values.
impl Ord for More {
    fn cmp(&self, other: &Self) -> Ordering {
        let fields =
            |more: &Self| more.iter().map(|(name, value)| (name.clone(), value.to_string())).collect::<Vec<_>>();
        fields(self).cmp(&fields(other))
    }
}

impl PartialOrd for More {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for More {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for More {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(self.0.as_ref().map(|fields| fields.len()))?;
        for (name, value) in self.iter() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for More {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = More;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<More, A::Error> {
                let mut more = More::default();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    more.insert(name, value);
                }
                Ok(more)
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

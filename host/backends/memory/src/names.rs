//! Interned names.

use std::collections::HashMap;
use std::mem::size_of;
use std::sync::Arc;

use hashlink::DefaultHashBuilder;

use super::size::{ARC_BYTES, table_entry_bytes};

/// An interned name.
#[derive(Clone)]
pub(super) struct Name {
    /// The number of the name while it is in use. Never reused for another name.
    pub number: u64,
    pub text: Arc<str>,
}

/// The names in use, each with a number that indexes compare faster than text.
#[derive(Default)]
pub(super) struct Names {
    names: HashMap<Arc<str>, Used, DefaultHashBuilder>,
    last_number: u64,
    bytes: usize,
}

struct Used {
    name: Name,
    times: usize,
}

impl Names {
    /// The number of a name, if it is in use.
    pub(super) fn number(&self, text: &str) -> Option<u64> {
        self.names.get(text).map(|used| used.name.number)
    }

    /// Adds a use of a name, and returns it.
    pub(super) fn acquire(&mut self, text: &str) -> Name {
        if let Some(used) = self.names.get_mut(text) {
            used.times += 1;
            return used.name.clone();
        }
        self.last_number += 1;
        let name = Name { number: self.last_number, text: text.into() };
        self.names.insert(name.text.clone(), Used { name: name.clone(), times: 1 });
        self.bytes += bytes_of(text);
        name
    }

    /// Undoes an [`acquire`](Self::acquire).
    pub(super) fn release(&mut self, name: &Name) {
        let Some(used) = self.names.get_mut(&name.text) else { return };
        used.times -= 1;
        if used.times == 0 {
            self.names.remove(&name.text);
            self.bytes -= bytes_of(&name.text);
        }
    }

    /// The number of a name, and its number of uses.
    pub(super) fn uses(&self, text: &str) -> Option<(u64, usize)> {
        self.names.get(text).map(|used| (used.name.number, used.times))
    }

    /// The same for every name that contains `part`.
    pub(super) fn uses_containing(&self, part: &str) -> impl Iterator<Item = (u64, usize)> {
        let found = self.names.values().filter(move |used| used.name.text.contains(part));
        found.map(|used| (used.name.number, used.times))
    }

    /// The approximate size of the names.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn bytes_of(text: &str) -> usize {
    ARC_BYTES + text.len() + table_entry_bytes(size_of::<(Arc<str>, Used)>())
}

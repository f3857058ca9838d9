//! Structs that keep the fields which they do not know.

/// Defines a struct whose JSON may have further fields: they are kept in `more`, and written back after the known ones.
///
/// Binary formats, which have no names, hold the known fields alone; [`Additions`](crate::Additions) has the rest.
macro_rules! open_struct {
    (
        $(#[$outer:meta])*
        $name:literal: pub struct $struct:ident {
            $($(#[doc = $doc:literal])* $(#[serde($($serde:tt)*)])? pub $field:ident: $type:ty,)*
        }
    ) => {
        $(#[$outer])*
        pub struct $struct {
            $($(#[doc = $doc])* pub $field: $type,)*
            /// The fields that a newer Reflow sent and this version does not name.
            pub more: $crate::More,
        }

        const _: () = {
            #[derive(serde::Serialize, serde::Deserialize)]
            #[serde(remote = $name)]
            struct Text {
                $($(#[serde($($serde)*)])? $field: $type,)*
                #[serde(flatten)]
                more: $crate::More,
            }

            #[derive(serde::Serialize, serde::Deserialize)]
            #[serde(remote = $name)]
            struct Binary {
                $($(#[serde($($serde)*)])? $field: $type,)*
                #[serde(skip)]
                more: $crate::More,
            }

            impl serde::Serialize for $struct {
                fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    if serializer.is_human_readable() {
                        Text::serialize(self, serializer)
                    } else {
                        Binary::serialize(self, serializer)
                    }
                }
            }

            impl<'de> serde::Deserialize<'de> for $struct {
                fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    if deserializer.is_human_readable() {
                        Text::deserialize(deserializer)
                    } else {
                        Binary::deserialize(deserializer)
                    }
                }
            }
        };
    };
}

pub(crate) use open_struct;

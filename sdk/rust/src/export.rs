use std::cell::OnceCell;
use std::thread::LocalKey;

use crate::{Backend, Result, StorageError};

/// Exports a type that implements [`Backend`](crate::Backend) from the component, and the optional interfaces that are named
/// after it: `export!(Store, maintenance, expiry)`.
#[macro_export]
macro_rules! export {
    ($backend:ty $(, $optional:ident)* $(,)?) => {
        const _: () = {
            use $crate::__private::{Guest, opened};
            use $crate::{EventBatch, EventPage, Info, PageRequest, Result, Stats, StorageError};
            use $crate::{Trace, TracePage, TraceQuery, Uuid};

            ::std::thread_local! {
                static BACKEND: ::std::cell::OnceCell<$backend> = const { ::std::cell::OnceCell::new() };
            }

            #[cfg_attr(not(target_family = "wasm"), allow(dead_code))]
            struct Plugin;

            impl Guest for Plugin {
                fn open(config: ::std::string::String) -> Result<Info> {
                    let backend = <$backend as $crate::Backend>::open(&config)?;
                    let info = $crate::Backend::info(&backend);
                    BACKEND.with(|opened| opened.set(backend)).map_err(|_| StorageError::other("opened twice"))?;
                    Ok(info)
                }
                fn store_traces(traces: ::std::vec::Vec<Trace>) -> Result<()> {
                    opened(&BACKEND, |backend| $crate::Backend::store_traces(backend, traces))
                }
                fn store_events(events: &EventBatch) -> Result<()> {
                    opened(&BACKEND, |backend| $crate::Backend::store_events(backend, events))
                }
                fn get_traces(
                    ids: ::std::vec::Vec<Uuid>,
                ) -> Result<::std::vec::Vec<::std::option::Option<::std::vec::Vec<u8>>>> {
                    opened(&BACKEND, |backend| $crate::Backend::get_traces(backend, ids))
                }
                fn query_traces(query: TraceQuery, page: PageRequest) -> Result<TracePage> {
                    opened(&BACKEND, |backend| $crate::Backend::query_traces(backend, query, page))
                }
                fn get_events(trace_id: Uuid, page: PageRequest) -> Result<EventPage> {
                    opened(&BACKEND, |backend| $crate::Backend::get_events(backend, trace_id, page))
                }
                fn delete_traces(ids: ::std::vec::Vec<Uuid>) -> Result<u64> {
                    opened(&BACKEND, |backend| $crate::Backend::delete_traces(backend, ids))
                }
                fn get_stats() -> Result<Stats> {
                    opened(&BACKEND, |backend| $crate::Backend::stats(backend))
                }
                fn health_check() -> Result<()> {
                    opened(&BACKEND, |backend| $crate::Backend::health_check(backend))
                }
            }

            $crate::__private::__export_plugin_impl!(Plugin with_types_in $crate::__private);
            $($crate::__export_optional!($optional, $backend);)*
        };
    };
}

/// Exports an optional interface, beside `BACKEND` and `Plugin` of [`export!`].
#[doc(hidden)]
#[macro_export]
macro_rules! __export_optional {
    (maintenance, $backend:ty) => {
        impl $crate::__private::maintenance::exports::reflow::storage::maintenance::Guest for Plugin {
            fn maintain() -> Result<()> {
                opened(&BACKEND, |backend: &$backend| $crate::Maintenance::maintain(backend))
            }
        }
        $crate::__private::maintenance::__export_maintenance_impl!(
            Plugin with_types_in $crate::__private::maintenance
        );
    };
    (expiry, $backend:ty) => {
        impl $crate::__private::expiry::exports::reflow::storage::expiry::Guest for Plugin {
            fn drop_oldest(ended_by: $crate::Timestamp) -> Result<u64> {
                opened(&BACKEND, |backend: &$backend| $crate::Expiry::drop_oldest(backend, ended_by))
            }
        }
        $crate::__private::expiry::__export_expiry_impl!(Plugin with_types_in $crate::__private::expiry);
    };
}

/// Calls into the backend of this instance.
#[doc(hidden)]
pub fn opened<B: Backend, T>(
    instance: &'static LocalKey<OnceCell<B>>,
    call: impl FnOnce(&B) -> Result<T>,
) -> Result<T> {
    instance.with(|backend| match backend.get() {
        Some(backend) => call(backend),
        None => Err(StorageError::other("called before it was opened")),
    })
}

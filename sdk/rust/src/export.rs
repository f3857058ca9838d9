use std::cell::OnceCell;
use std::thread::LocalKey;

use crate::{Backend, Result, StorageError};

/// Exports a type that implements [`Backend`](crate::Backend) from the component.
#[macro_export]
macro_rules! export {
    ($backend:ty) => {
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
        };
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

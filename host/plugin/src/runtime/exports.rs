//! What an instance exports: the backend, and the optional interfaces that the component has.

use wasmtime::Store;
use wasmtime::component::{Component, ComponentExportIndex, ComponentNamedList, Instance, Lift, Lower};

use super::instance::InstanceState;
use super::pool::Called;
use crate::contract::bindings::exports::reflow::storage::backend::Guest;
use crate::contract::bindings::reflow::storage::types;
use crate::contract::bindings::{Plugin, PluginPre};
use crate::wit;

/// A component with what it exports.
#[derive(Clone)]
pub(crate) struct Exporting {
    plugin: PluginPre<InstanceState>,
    maintain: Option<ComponentExportIndex>,
    drop_oldest: Option<ComponentExportIndex>,
}

impl Exporting {
    pub(super) fn new(plugin: PluginPre<InstanceState>, component: &Component) -> Self {
        let index = |interface: &str, function: &str| {
            let name = format!("reflow:storage/{interface}@{}", wit::version());
            let interface = component.get_export_index(None, &name)?;
            component.get_export_index(Some(&interface), function)
        };
        Self { plugin, maintain: index("maintenance", "maintain"), drop_oldest: index("expiry", "drop-oldest") }
    }

    /// Whether it has work from time to time.
    pub(crate) fn has_maintenance(&self) -> bool {
        self.maintain.is_some()
    }

    /// Whether it drops many traces at once.
    pub(crate) fn has_expiry(&self) -> bool {
        self.drop_oldest.is_some()
    }

    /// The engine that it was compiled for.
    pub(super) fn engine(&self) -> &wasmtime::Engine {
        self.plugin.engine()
    }

    pub(super) async fn instantiate(&self, store: &mut Store<InstanceState>) -> wasmtime::Result<Exports> {
        let instance = self.plugin.instance_pre().instantiate_async(&mut *store).await?;
        let plugin = Plugin::new(store, &instance)?;
        Ok(Exports { plugin, instance, maintain: self.maintain, drop_oldest: self.drop_oldest })
    }
}

/// The exports of an instance.
pub(crate) struct Exports {
    plugin: Plugin,
    instance: Instance,
    maintain: Option<ComponentExportIndex>,
    drop_oldest: Option<ComponentExportIndex>,
}

impl Exports {
    pub(crate) fn backend(&self) -> &Guest {
        self.plugin.reflow_storage_backend()
    }

    /// Does nothing where the component has no such function.
    pub(crate) async fn maintain(&self, store: &mut Store<InstanceState>) -> Called<()> {
        self.call(self.maintain, store, ()).await
    }

    /// Answers with 0 where the component has no such function.
    pub(crate) async fn drop_oldest(&self, store: &mut Store<InstanceState>, ended_by: i64) -> Called<u64> {
        self.call(self.drop_oldest, store, (ended_by,)).await
    }

    async fn call<P, T>(
        &self,
        function: Option<ComponentExportIndex>,
        store: &mut Store<InstanceState>,
        parameters: P,
    ) -> Called<T>
    where
        P: ComponentNamedList + Lower + Send + Sync,
        T: Default + Lift + Send + Sync + 'static,
        Result<T, types::StorageError>: Lift + Send + Sync,
    {
        let Some(function) = function else { return Ok(Ok(T::default())) };
        let function = self.instance.get_typed_func::<P, (Result<T, types::StorageError>,)>(&mut *store, function)?;
        Ok(function.call_async(store, parameters).await?.0)
    }
}

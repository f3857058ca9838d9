package plugin

import (
	_ "github.com/offbit-ai/reflow/sdk/go/bindings/wit_exports"

	"errors"

	"github.com/offbit-ai/reflow/sdk/go/bindings/reflow_storage_backend"
	"github.com/offbit-ai/reflow/sdk/go/bindings/reflow_storage_types"
	backend "github.com/offbit-ai/reflow/sdk/go/exports/export_reflow_storage_backend"
	"github.com/offbit-ai/reflow/sdk/go/exports/export_reflow_storage_expiry"
	"github.com/offbit-ai/reflow/sdk/go/exports/export_reflow_storage_maintenance"
	witTypes "go.bytecodealliance.org/pkg/wit/types"
)

// The functions that the host calls. Only a WebAssembly module has them.
func init() {
	backend.Open = func(config string) witTypes.Result[reflow_storage_backend.Info, backend.Failed] {
		return call(func() (info reflow_storage_backend.Info, err error) {
			if exported == nil {
				return info, errors.New("the plugin exports no backend: call plugin.Export in an init function")
			}
			opened, err := exported.Open(config)
			return reflow_storage_backend.Info{Name: opened.Name, Version: opened.Version, Features: opened.Features}, err
		})
	}
	backend.StoreTraces = func(traces []reflow_storage_types.Trace) witTypes.Result[witTypes.Unit, backend.Failed] {
		return perform(func() error { return exported.StoreTraces(each(traces, traceOf)) })
	}
	backend.StoreEvents = func(events *reflow_storage_backend.EventBatch) witTypes.Result[witTypes.Unit, backend.Failed] {
		return perform(func() error {
			// A borrowed handle that outlives the call is a trap.
			defer events.Drop()
			return exported.StoreEvents(WrapEventBatch(events))
		})
	}
	backend.GetTraces = func(ids []reflow_storage_types.Uuid) witTypes.Result[[]witTypes.Option[[]uint8], backend.Failed] {
		return call(func() ([]witTypes.Option[[]uint8], error) {
			bodies, err := exported.GetTraces(each(ids, uuidOf))
			return each(bodies, optionalBytes), err
		})
	}
	backend.QueryTraces = func(query reflow_storage_types.TraceQuery, page reflow_storage_types.PageRequest) witTypes.Result[reflow_storage_types.TracePage, backend.Failed] {
		return call(func() (reflow_storage_types.TracePage, error) {
			found, err := exported.QueryTraces(queryOf(query), pageOf(page))
			return reflow_storage_types.TracePage{Bodies: found.Bodies, Next: optionalBytes(found.Next)}, err
		})
	}
	backend.GetEvents = func(id reflow_storage_types.Uuid, page reflow_storage_types.PageRequest) witTypes.Result[reflow_storage_backend.EventPage, backend.Failed] {
		return call(func() (answer reflow_storage_backend.EventPage, err error) {
			found, err := exported.GetEvents(uuidOf(id), pageOf(page))
			if err != nil {
				return answer, err
			}
			if found.Events == nil {
				found.Events = NewEventBatch()
			}
			return reflow_storage_backend.EventPage{Events: found.Events.raw, Next: optionalBytes(found.Next)}, nil
		})
	}
	backend.DeleteTraces = func(ids []reflow_storage_types.Uuid) witTypes.Result[uint64, backend.Failed] {
		return call(func() (uint64, error) { return exported.DeleteTraces(each(ids, uuidOf)) })
	}
	backend.GetStats = func() witTypes.Result[reflow_storage_types.Stats, backend.Failed] {
		return call(func() (reflow_storage_types.Stats, error) {
			stats, err := exported.Stats()
			return reflow_storage_types.Stats{
				Traces: stats.Traces,
				Events: stats.Events,
				Bytes:  optional(stats.Bytes, func(bytes uint64) uint64 { return bytes }),
				Oldest: optional(stats.Oldest, func(time Timestamp) int64 { return int64(time) }),
				Newest: optional(stats.Newest, func(time Timestamp) int64 { return int64(time) }),
			}, err
		})
	}
	backend.HealthCheck = func() witTypes.Result[witTypes.Unit, backend.Failed] {
		return perform(func() error { return exported.HealthCheck() })
	}
	export_reflow_storage_maintenance.Maintain = func() witTypes.Result[witTypes.Unit, backend.Failed] {
		return perform(func() error {
			maintainer, ok := exported.(Maintainer)
			if !ok {
				return Unsupported("the backend has no function Maintain")
			}
			return maintainer.Maintain()
		})
	}
	export_reflow_storage_expiry.DropOldest = func(endedBy int64) witTypes.Result[uint64, backend.Failed] {
		return call(func() (uint64, error) {
			expirer, ok := exported.(Expirer)
			if !ok {
				return 0, Unsupported("the backend has no function DropOldest")
			}
			return expirer.DropOldest(Timestamp(endedBy))
		})
	}
}

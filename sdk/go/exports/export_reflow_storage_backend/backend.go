// Package export_reflow_storage_backend is what the generated exports call: variables that package plugin sets.
package export_reflow_storage_backend

import (
	"github.com/offbit-ai/reflow/sdk/go/bindings/reflow_storage_backend"
	"github.com/offbit-ai/reflow/sdk/go/bindings/reflow_storage_types"
	witTypes "go.bytecodealliance.org/pkg/wit/types"
)

// Failed is the error of every function.
type Failed = reflow_storage_types.StorageError

// The functions of the interface `backend`.
var (
	Open         func(string) witTypes.Result[reflow_storage_backend.Info, Failed]
	StoreTraces  func([]reflow_storage_types.Trace) witTypes.Result[witTypes.Unit, Failed]
	StoreEvents  func(*reflow_storage_backend.EventBatch) witTypes.Result[witTypes.Unit, Failed]
	GetTraces    func([]reflow_storage_types.Uuid) witTypes.Result[[]witTypes.Option[[]uint8], Failed]
	QueryTraces  func(reflow_storage_types.TraceQuery, reflow_storage_types.PageRequest) witTypes.Result[reflow_storage_types.TracePage, Failed]
	GetEvents    func(reflow_storage_types.Uuid, reflow_storage_types.PageRequest) witTypes.Result[reflow_storage_backend.EventPage, Failed]
	DeleteTraces func([]reflow_storage_types.Uuid) witTypes.Result[uint64, Failed]
	GetStats     func() witTypes.Result[reflow_storage_types.Stats, Failed]
	HealthCheck  func() witTypes.Result[witTypes.Unit, Failed]
)

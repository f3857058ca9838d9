export { Backend, plugin } from './backend.js';
export type {
    Awaitable, Config, EventPage, Exports, Info, PageRequest, Stats, Status, Trace, TracePage, TraceQuery,
} from './backend.js';
export { Events } from './events.js';
export type { EventRecord, Field, Value } from './events.js';
export * from './errors.js';
export * from './time.js';
export { Uuid } from './uuid.js';
export * as log from './log.js';

import type { Events } from './events.js';
import type { Time } from './time.js';
import type { Uuid } from './uuid.js';

/** The table `[plugins.NAME.config]` of the host's configuration; empty when there is none. */
export type Config = Readonly<Record<string, unknown>>;

/** A value, or the promise of one: every function of a backend may be `async`. */
export type Awaitable<T> = T | Promise<T>;

/** The status of an execution. */
export type Status = 'pending' | 'running' | 'completed' | 'failed' | 'cancelled';

/** The header of a trace, without its events. */
export interface Trace {
    traceId: Uuid;
    flowId: string;
    executionId: Uuid;
    startTime: Time;
    /** Absent while the execution runs. */
    endTime?: Time;
    status: Status;
    /** The message of a failed execution; absent unless `status` is `failed`. */
    error?: string;
    /** Labels, each name once. */
    tags: [name: string, value: string][];
    /** The complete header, to be stored and returned unchanged. */
    body: Uint8Array;
}

/** A query for traces. All predicates that are present must hold. */
export interface TraceQuery {
    flowId?: string;
    executionId?: Uuid;
    /** Bounds on the start time, both included. */
    startFrom?: Time;
    startTo?: Time;
    status?: Status;
    /** With status `failed`: the exact message. Absent: any. */
    error?: string;
    /** A case-sensitive substring of the actor id of at least one event. */
    actor?: string;
    /** The trace has an event of at least one of these kinds. */
    eventTypes?: string[];
    /** The trace carries all of these tags. */
    tags: [name: string, value: string][];
    /** The trace has ended, and its duration (end time minus start time) is within these bounds, in nanoseconds. */
    minDuration?: bigint;
    maxDuration?: bigint;
    /** The trace has status `failed`, or an event of kind `ActorFailed`, or an event with an error. `false`: none of these. */
    hasError?: boolean;
    /** The earliest start first instead of the latest. Equal starts come by ascending trace id either way. */
    ascending: boolean;
    /** Predicates that later hosts may add, by name. Throw `Unsupported` for one that the plugin does not know. */
    more: [name: string, value: string][];
}

/** A request for a page. */
export interface PageRequest {
    /** Maximum items; at least 1. */
    limit: number;
    /** Items to skip, counted from `token` when there is one. */
    offset: bigint;
    /** The `next` of the previous page. Any instance of the plugin can continue from it. */
    token?: Uint8Array;
}

/** Traces, as the bodies of their headers. */
export interface TracePage {
    bodies: Uint8Array[];
    /** The token of the next page; absent on the last page. */
    next?: Uint8Array;
}

/** A page of a trace's events. */
export interface EventPage {
    /** Absent: none. */
    events?: Events;
    /** The token of the next page; absent on the last page. */
    next?: Uint8Array;
}

/** What the store holds. */
export interface Stats {
    /** Traces with a header. */
    traces: number | bigint;
    /** Events, those without a header included. */
    events: number | bigint;
    /** The size of the store, if known. */
    bytes?: number | bigint;
    /** The earliest and the latest start of a trace. */
    oldest?: Time;
    newest?: Time;
}

/** What the host shows of a plugin. */
export interface Info {
    /** Those of `package.json` unless given. */
    name?: string;
    version?: string;
    features?: string[];
}

/**
 * A store for traces. The host makes one for each instance of the plugin, and may run several instances at a time, also on the same
 * database.
 *
 * `wit/deps/storage/backend.wit` specifies each function. Those that a plugin does not override answer `unsupported`.
 */
export class Backend {
    /** Opens the store. */
    constructor(config: Config);
    /** Stores the headers of traces. Of several headers for one trace, the last one is stored. */
    storeTraces(traces: Trace[]): Awaitable<void>;
    /** Stores events, which may belong to several traces. Storing one again changes nothing. */
    storeEvents(events: Events): Awaitable<void>;
    /** The bodies of the headers, in the order of the ids; `undefined` where no header is stored. */
    getTraces(ids: Uuid[]): Awaitable<(Uint8Array | undefined)[]>;
    /** The headers that match, a page at a time. */
    queryTraces(query: TraceQuery, page: PageRequest): Awaitable<TracePage>;
    /** The events of a trace by ascending (timestamp, event id), a page at a time, also when the trace has no header. */
    getEvents(traceId: Uuid, page: PageRequest): Awaitable<EventPage>;
    /** Deletes traces with their events. Returns how many existed. */
    deleteTraces(ids: Uuid[]): Awaitable<number | bigint>;
    /** What the store holds. */
    getStats(): Awaitable<Stats>;
    /** Throws when the store can't work now. Reaches everything that a write needs, and changes nothing. */
    healthCheck(): Awaitable<void>;
    /** Work that the store needs from time to time, for plugins that export `maintenance`. */
    maintain(): Awaitable<void>;
    /**
     * Drops the oldest partition that holds traces, with their events, if every trace in it started before `endedBy`, for plugins
     * that export `expiry`. Returns how many traces it held, 0 when none is left.
     */
    dropOldest(endedBy: Time): Awaitable<number | bigint>;
}

/** The interfaces that a component may export. */
export interface Exports {
    readonly backend: object;
    /** To be exported when `wit/world.wit` exports `reflow:storage/maintenance`. */
    readonly maintenance: object;
    /** To be exported when `wit/world.wit` exports `reflow:storage/expiry`. */
    readonly expiry: object;
}

/**
 * What a plugin exports: `export const { backend } = plugin(Ledger);`
 *
 * Everything that the class throws becomes an error of the contract. The stack of what is not a `StorageError` is logged.
 */
export function plugin(type: new (config: Config) => Backend, info?: Info): Exports;

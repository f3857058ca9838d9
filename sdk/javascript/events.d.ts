import type { Time } from './time.js';
import type { Uuid } from './uuid.js';

/** The type of each field's values. An absent value is empty or zero: `present` tells them apart. */
interface Values {
    'trace-id': Uuid;
    'event-id': Uuid;
    timestamp: Time;
    'event-type': string;
    'actor-id': string;
    port: string;
    error: string;
    'span-id': string;
    'parent-event-id': Uuid;
    'message-type': string;
    /** Bytes. */
    'message-size': bigint;
    'execution-time-ns': bigint;
    /** The complete event, to be stored and returned unchanged. */
    body: Uint8Array;
    'to-actor': string;
    'to-port': string;
    'flow-id': string;
    /** The custom attributes as a JSON object. */
    attributes: string;
    /** The complete event as Reflow's JSON. */
    json: string;
}

/** A field of an event, by the name that `wit/deps/storage/batch.wit` lists. */
export type Field = keyof Values;
export type Value<F extends Field> = Values[F];

/** An event as a record. Convenient; columns are several times cheaper. */
export interface EventRecord {
    traceId: Uuid;
    eventId: Uuid;
    timestamp: Time;
    eventType: string;
    actorId: string;
    error?: string;
    body: Uint8Array;
}

/**
 * An ordered batch of events, whose rows stay in the host. The cheapest use is to pass it on to a capability; columns are next,
 * then records (`for (const event of events)`). One that was passed to `storeEvents` is valid until that returns.
 */
export class Events implements Iterable<EventRecord> {
    private constructor(batch: unknown);
    /** A batch for an answer, of the bodies of events. Their trace ids are zero. Throws a StorageError for an invalid body. */
    static ofBodies(bodies: readonly Uint8Array[]): Events;
    readonly length: number;
    /** The values of one field, one per event. */
    column<F extends Field>(field: F): ArrayLike<Value<F>> & Iterable<Value<F>>;
    /** The values of several fields, in one call. */
    columns<F extends Field[]>(...fields: F): { [I in keyof F]: ArrayLike<Value<F[I]>> & Iterable<Value<F[I]>> };
    /** Which events have a value in the field: an absent text and an empty one are equal in a column. */
    present(field: Field): boolean[];
    /** The events, with these fields only. */
    rows<F extends Field>(...fields: F[]): Generator<{ [K in F]: Value<K> }>;
    [Symbol.iterator](): Generator<EventRecord>;
}

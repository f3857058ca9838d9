import type { Trace } from '../backend.js';
import type { EventRecord, Events } from '../events.js';

/** A header with these fields; the others have values that are valid. */
export function trace(fields?: Partial<Trace>): Trace;
/** A batch of events with these fields; the others have values that are valid. A body is a JSON object that only this module reads. */
export function events(...rows: Partial<EventRecord>[]): Events;
/** Empties all buckets. */
export function reset(): void;
/** What was written to the log. */
export const lines: { level: string; message: string }[];

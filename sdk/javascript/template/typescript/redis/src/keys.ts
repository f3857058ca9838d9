// The keys. A time in a member is 8 bytes that sort like it, an id 16 bytes. In names of keys, an id is text.
//
//   traces                          a sorted set: the ids of all traces, also of those that have only events
//   oldest-first, newest-first      sorted sets: start and id of each trace with a header
//   header:ID                       the header: the fields to search by, and the body
//   events:ID                       a sorted set: timestamp and event id of each event
//   bodies:ID                       a hash: the body of each event, by its place in `events:ID`
//   about:ID                        a set: "a" and each actor id, "k" and each event type, "x1" if an event has an error
import { Uuid } from '#sdk';
import { key } from '#sdk/keys';

/** Members with one score are sorted by their bytes. */
export const UNSORTED = 1;

export const header = (id: Uuid) => `header:${id}`;
export const eventsOf = (id: Uuid) => `events:${id}`;
export const bodies = (id: Uuid) => `bodies:${id}`;
export const about = (id: Uuid) => `about:${id}`;

/** The traces in one of the two orders. */
export const index = (ascending: boolean) => (ascending ? 'oldest-first' : 'newest-first');

/** The place of a trace in an order. Equal starts come by ascending id in both. */
export function placeOf(start: bigint, id: Uuid | Uint8Array | string, ascending: boolean): Uint8Array {
    return key(ascending ? start : ~start, id);
}

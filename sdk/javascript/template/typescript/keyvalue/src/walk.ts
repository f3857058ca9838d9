// Traces in the order of their starts, from any place on.
import { InvalidArgument, Uuid, type TraceQuery } from '#sdk';
import { key, readTime, startsWith, type Bucket } from '#sdk/keyvalue';

/** A trace in the order, and the cursor of the listing before all traces with its start. */
export interface Place {
    start: bigint;
    id: Uuid;
    cursor?: Uint8Array;
}

/** What of a query decides which traces are looked at. */
type Range = Pick<TraceQuery, 'ascending' | 'startFrom' | 'startTo'>;

/** Keys that are listed at once. */
const LISTED = 256;

/**
 * The places that follow `after`, in groups of at least `size` where there are as many. Equal starts come by ascending id in both
 * directions, so those are collected before they are passed on.
 */
export function* walk(bucket: Bucket, range: Range, after: Place | undefined, size: number): Generator<Place[]> {
    const { ascending, startFrom, startTo } = range;
    const [first, end] = ascending ? [startFrom, startTo] : [startTo, startFrom];
    const before = (a: bigint, b: bigint) => (ascending ? a < b : a > b);
    let group: Place[] = [];
    let equal: Place[] = [];
    for (const place of listed(bucket, range, after?.cursor)) {
        if (first !== undefined && before(place.start, first)) continue;
        if (end !== undefined && before(end, place.start)) break;
        if (after !== undefined && !follows(after, place, before)) continue;
        if (equal.length > 0 && equal[0].start !== place.start) {
            group.push(...inOrder(equal, ascending));
            equal = [];
            if (group.length >= size) {
                yield group;
                group = [];
            }
        }
        // The cursor of the first of them, from which all of them are listed again.
        equal.push({ ...place, cursor: equal[0]?.cursor ?? place.cursor });
    }
    group.push(...inOrder(equal, ascending));
    if (group.length > 0) yield group;
}

function inOrder(equal: Place[], ascending: boolean): Place[] {
    return ascending ? equal : equal.reverse();
}

/** Whether `place` comes after `after` in the order of an answer. */
function follows(after: Place, place: Place, before: (a: bigint, b: bigint) => boolean): boolean {
    return place.start === after.start ? after.id.compare(place.id) < 0 : before(after.start, place.start);
}

/** The entries by start, as they are stored. */
function* listed(bucket: Bucket, range: Range, from: Uint8Array | undefined): Generator<Place> {
    const prefix = common(range);
    let cursor = from;
    do {
        const { entries, next } = bucket.scan(prefix, { cursor, limit: LISTED, reverse: !range.ascending });
        for (const entry of entries) yield { start: readTime(entry.key, 1), id: Uuid.fromBytes(entry.key, 9), cursor };
        cursor = next;
    } while (cursor !== undefined);
}

/** What the keys of all traces within the bounds begin with. */
function common({ startFrom, startTo }: Range): Uint8Array {
    if (startFrom === undefined || startTo === undefined) return key('t');
    const [from, to] = [key('t', startFrom), key('t', startTo)];
    let length = from.length;
    while (!startsWith(to, from.subarray(0, length))) length -= 1;
    return from.subarray(0, length);
}

/** A place as a token: start, id, cursor. */
export function writeToken({ start, id, cursor }: Place): Uint8Array {
    return key(start, id, cursor === undefined ? '0' : '1', cursor ?? '');
}

export function readToken(token: Uint8Array): Place {
    if (token.length < 25) throw new InvalidArgument('the page token is not one of this plugin');
    const cursor = token[24] === 0x31 ? token.subarray(25) : undefined;
    return { start: readTime(token), id: Uuid.fromBytes(token, 8), cursor };
}

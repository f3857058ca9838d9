// Queries for traces as SQL, and page tokens.
import { InvalidArgument, Unsupported, Uuid, type PageRequest, type TraceQuery } from '#sdk';
import { key, readTime } from '#sdk/keys';
import type { Parameter } from '#sdk/sql';

const HAS_EVENT = 'EXISTS (SELECT 1 FROM event e WHERE e.trace_id = trace.trace_id AND';
const HAS_TAG = 'EXISTS (SELECT 1 FROM tag t WHERE t.trace_id = trace.trace_id AND name = ? AND value = ?)';
const FAILED = `(status = 'failed' OR ${HAS_EVENT} (e.kind = 'ActorFailed' OR e.error IS NOT NULL)))`;

/** The statement for a page, with its parameters: start, id and body of the traces on it, and of one more. */
export function select(query: TraceQuery, page: PageRequest): [statement: string, parameters: Parameter[]] {
    // A later host may send a predicate that this plugin does not know. Ignoring it would give a wrong answer.
    const [unknown] = query.more;
    if (unknown !== undefined) throw new Unsupported(`the predicate \`${unknown[0]}\``);
    const conditions = ['true'];
    const parameters: Parameter[] = [];
    // All predicates that are present must hold.
    const and = (condition: string, ...values: Parameter[]) => {
        if (values.includes(undefined)) return;
        conditions.push(condition);
        parameters.push(...values);
    };
    and('flow_id = ?', query.flowId);
    and('execution_id = ?', query.executionId);
    and('start_time >= ?', query.startFrom);
    and('start_time <= ?', query.startTo);
    and('status = ?', query.status);
    and('trace.error = ?', query.error);
    and(`${HAS_EVENT} instr(e.actor, ?) > 0)`, query.actor);
    and('end_time - start_time >= ?', query.minDuration);
    and('end_time - start_time <= ?', query.maxDuration);
    if (query.eventTypes !== undefined) {
        and(`${HAS_EVENT} e.kind IN (${query.eventTypes.map(() => '?').join(', ')}))`, ...query.eventTypes);
    }
    for (const [name, value] of query.tags) and(HAS_TAG, name, value);
    if (query.hasError !== undefined) and(query.hasError ? FAILED : `NOT ${FAILED}`);

    // Equal starts are ordered by ascending id in both directions.
    const [beyond, direction] = query.ascending ? ['>', 'ASC'] : ['<', 'DESC'];
    if (page.token !== undefined) {
        const [start, id] = placeOfToken(page.token);
        and(`(start_time ${beyond} ? OR (start_time = ? AND trace_id > ?))`, start, start, id);
    }
    parameters.push(page.limit + 1, bounded(page.offset));
    const statement = `SELECT start_time, trace_id, body FROM trace WHERE ${conditions.join(' AND ')}
                       ORDER BY start_time ${direction}, trace_id LIMIT ? OFFSET ?`;
    return [statement, parameters];
}

/** An offset as the database takes it. */
export function bounded(offset: bigint): bigint {
    return offset < 1n << 63n ? offset : (1n << 63n) - 1n;
}

/** A page token: the time and the id of the last item. Concurrent writes and deletions do not shift the next page. */
export function tokenOf(time: bigint, id: Uint8Array): Uint8Array {
    return key(time, id);
}

/** The time and the id in a token. Tokens come from clients, so they may be invalid. */
export function placeOfToken(token: Uint8Array): [time: bigint, id: Uint8Array] {
    if (token.length !== 24) throw new InvalidArgument('the page token is not one of this plugin');
    return [readTime(token), Uuid.fromBytes(token, 8).toBytes()];
}

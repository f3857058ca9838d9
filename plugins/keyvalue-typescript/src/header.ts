// How a header is stored: the length of the fields, the fields as JSON, the body. And whether it matches a query.
import { StorageError, Uuid, type Status, type Trace, type TraceQuery } from '#sdk';

export interface Header {
    flowId: string;
    executionId: Uuid;
    startTime: bigint;
    endTime?: bigint;
    status: Status;
    error?: string;
    tags: [string, string][];
    body: Uint8Array;
}

export function encodeHeader({ flowId, executionId, startTime, endTime, status, error, tags, body }: Trace): Uint8Array {
    // JSON has no integers of 64 bits, so times are texts.
    const fields = [flowId, executionId, String(startTime), endTime === undefined ? null : String(endTime), status, error ?? null, tags];
    const json = new TextEncoder().encode(JSON.stringify(fields));
    const stored = new Uint8Array(4 + json.length + body.length);
    new DataView(stored.buffer).setUint32(0, json.length);
    stored.set(json, 4);
    stored.set(body, 4 + json.length);
    return stored;
}

export function decodeHeader(stored: Uint8Array): Header {
    try {
        const end = 4 + new DataView(stored.buffer, stored.byteOffset).getUint32(0);
        const [flowId, executionId, startTime, endTime, status, error, tags] = JSON.parse(
            new TextDecoder().decode(stored.subarray(4, end)),
        );
        return {
            flowId,
            executionId: Uuid.parse(executionId),
            startTime: BigInt(startTime),
            endTime: endTime === null ? undefined : BigInt(endTime),
            status,
            error: error ?? undefined,
            tags,
            body: stored.subarray(end),
        };
    } catch (cause) {
        throw new StorageError('a stored header is not one of this plugin', { cause });
    }
}

/** Whether it matches what a query asks of headers. */
export function matchesHeader(query: TraceQuery, header: Header): boolean {
    const { flowId, executionId, startFrom, startTo, status, error, tags, minDuration, maxDuration } = query;
    const { startTime, endTime } = header;
    const duration = endTime === undefined ? undefined : endTime - startTime;
    return (
        (flowId === undefined || flowId === header.flowId) &&
        (executionId === undefined || executionId.equals(header.executionId)) &&
        (startFrom === undefined || startFrom <= startTime) &&
        (startTo === undefined || startTime <= startTo) &&
        (status === undefined || status === header.status) &&
        (error === undefined || error === header.error) &&
        tags.every(([name, value]) => header.tags.some((tag) => tag[0] === name && tag[1] === value)) &&
        (minDuration === undefined || (duration !== undefined && minDuration <= duration)) &&
        (maxDuration === undefined || (duration !== undefined && duration <= maxDuration))
    );
}

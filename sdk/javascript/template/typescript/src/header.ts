// How a header is stored: the length of the fields, the fields as JSON, the body.
import { StorageError, Uuid, type Status, type Trace } from '#sdk';

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
        throw new StorageError('a header in the bucket is not one that this plugin stored', { cause });
    }
}

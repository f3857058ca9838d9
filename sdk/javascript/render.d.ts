/** Reflow's JSON of the bodies of headers, one object for each. Nothing is lost: what is turned into JSON and back is the same body. */
export function traceBodiesToJson(bodies: readonly Uint8Array[]): string[];
/** The bodies of headers of these JSON objects. Throws InvalidArgument for what is not a header. */
export function traceBodiesFromJson(json: readonly string[]): Uint8Array[];
/** Reflow's JSON of the bodies of events. */
export function eventBodiesToJson(bodies: readonly Uint8Array[]): string[];
/** The bodies of events of these JSON objects. Throws InvalidArgument for what is not an event. */
export function eventBodiesFromJson(json: readonly string[]): Uint8Array[];

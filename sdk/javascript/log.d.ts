/** Writes to the host's log, which adds the plugin's name. The host drops what exceeds 100 messages a second. */
export function trace(message: unknown): void;
export function debug(message: unknown): void;
export function info(message: unknown): void;
export function warn(message: unknown): void;
export function error(message: unknown): void;

// Stack traces in terms of the plugin's own files. The build joins all files into one and leaves the source map of that file in
// `globalThis.reflowSourceMap`.
const DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
/** Of this SDK: the innermost frame outside of it is where the plugin failed. */
const OF_SDK = /(^|\/)sdk\/(javascript\/)?[^/]+\.js$/;

/** `src/plugin.ts:12:3`, where the plugin failed, if the stack tells. */
export function locate(error) {
    const frames = framesOf(error).filter(({ place }) => place !== undefined);
    return (frames.find(({ file }) => !OF_SDK.test(file)) ?? frames[0])?.place;
}

/** The stack, one function a line, the innermost first, then that of the cause. */
export function trace(error) {
    const lines = framesOf(error).map(({ name, place, text }) => `    at ${place === undefined ? text : `${name} (${place})`}`);
    if (error.cause instanceof Error) lines.push(`caused by ${error.cause.name}: ${error.cause.message}`, trace(error.cause));
    return lines.join('\n');
}

function framesOf(error) {
    const decoded = decode(globalThis.reflowSourceMap);
    return String(error.stack ?? '')
        .split('\n')
        .filter((line) => line !== '')
        .map((text) => {
            // SpiderMonkey: `name@file:line:column`.
            const frame = /^(.*?)@(.*):(\d+):(\d+)$/.exec(text);
            if (frame === null || !frame[2].endsWith(decoded.file)) return { text };
            const found = decoded.find(Number(frame[3]) - 1, Number(frame[4]) - 1);
            return found === undefined
                ? { text }
                : { text, name: frame[1] || '(top level)', file: found.file, place: `${found.file}:${found.line}:${found.column}` };
        });
}

/** A source map, version 3: each segment is the differences of (column, source, line, column, name) to the segment before. */
function decode(map) {
    if (map === undefined) return { file: '\0', find: () => undefined };
    const segments = [];
    let [source, line, column] = [0, 0, 0];
    map.mappings.split(';').forEach((text, generatedLine) => {
        let generatedColumn = 0;
        for (const segment of text.split(',')) {
            const numbers = variableLength(segment);
            if (numbers.length === 0) continue;
            generatedColumn += numbers[0];
            if (numbers.length < 4) continue;
            source += numbers[1];
            line += numbers[2];
            column += numbers[3];
            segments.push({ generatedLine, generatedColumn, file: map.sources[source], line: line + 1, column: column + 1 });
        }
    });
    return {
        file: map.file,
        find: (atLine, atColumn) =>
            segments.findLast((one) => one.generatedLine === atLine && one.generatedColumn <= atColumn),
    };
}

function variableLength(text) {
    const numbers = [];
    let [number, shift] = [0, 0];
    for (const digit of text) {
        const value = DIGITS.indexOf(digit);
        number |= (value & 31) << shift;
        shift += 5;
        if (value < 32) {
            numbers.push(number & 1 ? -(number >> 1) : number >> 1);
            [number, shift] = [0, 0];
        }
    }
    return numbers;
}

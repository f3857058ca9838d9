// Makes a component of the plugin in the working folder: `node sdk/build.js --output FILE`, which `reflow-tracing plugin build` runs.
//
// Its files are joined into one (types are removed on the way), whose source map goes along, so that errors name the author's lines.
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const { values: options } = parseArgs({
    options: {
        output: { type: 'string' },
        // The folder `node_modules` that holds the toolchain.
        modules: { type: 'string', default: 'node_modules' },
    },
});
/** The name of the joined file in stack traces. */
const BUNDLE = 'plugin.bundle.js';
/** The module with the name and the version of the plugin. */
const ABOUT = 'reflow:package';

const modules = createRequire(join(resolve(options.modules), 'reflow'));
const load = async (name) => import(pathToFileURL(modules.resolve(name, { paths: [resolve(options.modules)] })));

try {
    if (options.output === undefined) throw new Error('name the file to write with --output');
    await build();
} catch (error) {
    // The tools' own stacks are no help with the plugin.
    console.error(`error: ${error.message}`);
    process.exitCode = 1;
}

async function build() {
    const { rolldown } = await load('rolldown');
    // It has no entry for `require`.
    const componentizer = join(resolve(options.modules), '@bytecodealliance/componentize-js/src/componentize.js');
    const { componentize } = await import(pathToFileURL(componentizer));
    const { main, name, version } = JSON.parse(readFileSync('package.json', 'utf8'));
    if (typeof main !== 'string' || !existsSync(main)) {
        throw new Error(`package.json: main is ${JSON.stringify(main)}; it must name the plugin's file, such as "src/plugin.js"`);
    }
    const folder = mkdtempSync(join(tmpdir(), 'reflow-plugin-'));
    try {
        const world = readWorld();
        const sourcePath = join(folder, BUNDLE);
        writeFileSync(sourcePath, await bundle(rolldown, main, { name, version }, world));
        const { component } = await componentize({
            sourcePath,
            witPath: resolve('wit'),
            worldName: 'plugin',
            disableFeatures: world.imports('wasi:http/outgoing-handler') ? ['fetch-event'] : ['http', 'fetch-event'],
        });
        writeFileSync(options.output, component);
    } finally {
        rmSync(folder, { recursive: true });
    }
}

/** The files of `main` in one, with the source map at its end. */
async function bundle(rolldown, main, about, world) {
    const bundler = await rolldown({
        input: resolve(main),
        platform: 'neutral',
        resolve: { mainFields: ['module', 'main'] },
        moduleTypes: { '.sql': 'text' },
        plugins: [
            {
                name: 'contract',
                resolveId: (name, importer) => (name === ABOUT ? name : world.resolve(name, importer)),
                load: (name) => (name === ABOUT ? `export default ${JSON.stringify(about)};` : null),
            },
        ],
        onLog(level, log, write) {
            if (log.code === 'UNRESOLVED_IMPORT') throw new Error(log.message);
            write(level, log);
        },
    });
    const { output } = await bundler.generate({ format: 'esm', sourcemap: true, file: BUNDLE, codeSplitting: false });
    await bundler.close();
    const [{ code, map }] = output;
    // Paths are relative to the temporary place of the bundle.
    const sources = map.sources.map((source) => source.replace(/^(\.\.\/)+/, ''));
    const kept = JSON.stringify({ file: BUNDLE, sources, mappings: map.mappings });
    return `${code.replace(/\n\/\/# sourceMappingURL=.*\s*$/, '')}\nglobalThis.reflowSourceMap = ${kept};\n`;
}

/** What `wit/world.wit` imports, and the versions of the packages. */
function readWorld() {
    const text = readFileSync('wit/world.wit', 'utf8').replace(/\/\/.*$/gm, '');
    // The world of a storage plugin imports this one.
    const imported = new Map();
    for (const [, name, version] of text.matchAll(/\bimport\s+([\w:/-]+)(?:@([\d.]+\d))?\s*;/g)) imported.set(name, version);
    imported.set('reflow:storage/batch', contractVersion());
    return {
        imports: (name) => imported.has(name),
        /** An import of the contract, which is left to the component; others are files. */
        resolve(name, importer) {
            if (!/^(reflow|wasi|local):/.test(name)) return null;
            if (!imported.has(name)) {
                const version = name.startsWith('reflow:') ? `@${contractVersion()}` : '';
                throw new Error(`${importer} imports ${name}, but the world does not: add to wit/world.wit\n    import ${name}${version};`);
            }
            const version = imported.get(name);
            return { id: version === undefined ? name : `${name}@${version}`, external: true };
        },
    };
}

function contractVersion() {
    const folder = 'wit/deps/storage';
    const text = readFileSync(join(folder, readdirSync(folder).find((name) => name.endsWith('.wit'))), 'utf8');
    return /^package reflow:storage@([\d.]+\d);/m.exec(text)?.[1];
}

// Files that are not modules: `import schema from './schema.sql'` is their text.
declare module '*.sql' {
    const text: string;
    export default text;
}

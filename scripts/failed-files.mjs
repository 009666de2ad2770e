// Reporter of Node's test runner: the files in which something failed, one a line, for scripts/test.mjs.
// biome-ignore lint/style/noDefaultExport: Node takes a reporter so.
export default async function* failedFiles(events) {
  const files = new Set();
  for await (const { type, data } of events) if (type === 'test:fail' && data.file) files.add(data.file);
  yield [...files].map((file) => `${file}\n`).join('');
}

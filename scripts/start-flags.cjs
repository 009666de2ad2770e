// The flags of Node and V8 that `npm start` gives: the binary has them too, and what is measured from sources.
// Why each: src/DECISIONS.md, "One thread collects young garbage", "Old garbage is not made" and "Idle memory".
const { start } = require('../package.json').scripts;

module.exports = start.split(' ').filter((word) => word.startsWith('--'));

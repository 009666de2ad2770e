// A file that is not taken, or not given: code and words for whoever sent or asked, with the status HTTP has for it.

export const FILE_REFUSALS = [
  'empty',
  'file_too_large',
  'quota_full',
  'disk_full',
  'too_many_uploads',
  'size_wrong',
  'hash_wrong',
  'type_wrong',
  'zip_unsafe',
  'incomplete',
  'bad_hash',
  'bad_request',
  'no_such_file',
  'not_fetched',
  'filtered',
] as const;
export type FileRefusalCode = (typeof FILE_REFUSALS)[number];

const STATUS: Readonly<Record<FileRefusalCode, number>> = {
  empty: 400,
  file_too_large: 413,
  quota_full: 507,
  disk_full: 507,
  too_many_uploads: 429,
  size_wrong: 400,
  hash_wrong: 400,
  type_wrong: 415,
  zip_unsafe: 422,
  incomplete: 400,
  bad_hash: 400,
  bad_request: 400,
  no_such_file: 404,
  not_fetched: 504,
  filtered: 403,
};

export class FileRefusal extends Error {
  readonly code: FileRefusalCode;

  constructor(code: FileRefusalCode, words: string) {
    super(words);
    this.name = 'FileRefusal';
    this.code = code;
  }

  get status(): number {
    return STATUS[this.code];
  }
}

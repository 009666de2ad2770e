// The npm package systemd-notify ships no types. Runs the program of that name; rejects when it fails.
declare module 'systemd-notify' {
  function notify(message: { readonly ready?: boolean; readonly status?: string }): Promise<unknown>;
  export = notify;
}

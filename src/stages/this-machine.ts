/** Which hosts are this machine: what goes there crosses no network. */

/** @param host a name or address; IPv6 as it is or in the brackets of a URL; the folder of a socket */
export function staysOnThisMachine(host: string): boolean {
  return /^(\/.*|127(\.\d{1,3}){3}|::1|\[::1\]|localhost)$/i.test(host);
}

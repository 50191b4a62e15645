/**
 * Where an address lies. A server names other addresses to go to (files, the next page); none of them may lead into a
 * network that the configured server is not part of itself, whatever its name resolves to meanwhile.
 */
import { lookup as resolveName, type LookupAddress, type LookupOptions } from "node:dns";
import { BlockList, isIP, isIPv6 } from "node:net";
import { PipelineError } from "../../../errors.ts";

export type Place = "public" | "private" | "loopback" | "link-local" | "reserved";

/** RFC 6890 and its registries; what is not named is public. */
const ranges: Readonly<Record<Exclude<Place, "public">, readonly string[]>> = {
  loopback: ["127.0.0.0/8", "::1/128"],
  private: ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"],
  "link-local": ["169.254.0.0/16", "fe80::/10"],
  reserved: [
    "0.0.0.0/8",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/3",
    "::/128",
    "64:ff9b:1::/48",
    "100::/64",
    "2001:db8::/32",
    "ff00::/8",
  ],
};

const lists = Object.entries(ranges).map(([place, networks]) => {
  const list = new BlockList();
  for (const network of networks) {
    const [address = "", bits = ""] = network.split("/");
    list.addSubnet(address, Number(bits), isIPv6(address) ? "ipv6" : "ipv4");
  }
  return [place as Place, list] as const;
});

export function placeOf(address: string): Place {
  const inner = embeddedIPv4(address);
  if (inner !== undefined) return placeOf(inner);
  const family = isIPv6(address) ? "ipv6" : "ipv4";
  return lists.find(([, list]) => list.check(address, family))?.[0] ?? "public";
}

/** The IPv4 address that `::ffff:…` (mapped) and `64:ff9b::…` (translated) stand for. */
function embeddedIPv4(address: string): string | undefined {
  if (!isIPv6(address)) return undefined;
  // The URL parser writes every form of an address in one way.
  const canonical = new URL(`http://[${address.split("%")[0]}]`).hostname.slice(1, -1);
  const [, high, low] =
    /^(?:::ffff:|64:ff9b::)([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(canonical) ?? [];
  if (high === undefined || low === undefined) return undefined;
  const [left, right] = [Number.parseInt(high, 16), Number.parseInt(low, 16)];
  return [left >> 8, left & 255, right >> 8, right & 255].join(".");
}

type Resolver = (
  host: string,
  options: LookupOptions & { all: true },
  done: (error: Error | null, found: LookupAddress[]) => void,
) => void;
type Resolved = (error: Error | null, address: string | LookupAddress[], family?: number) => void;

export interface Guard {
  /** Resolves a name for a connection, and refuses what it must not lead to: what is checked is what is dialled. */
  readonly lookup: (host: string, options: LookupOptions, done: Resolved) => void;
  /** The same for a host that is an address already. @throws PipelineError `source-refused` */
  check(hostname: string): void;
}

/**
 * Allows public addresses, and the places where `home` lies when its name is first resolved.
 * @param home host name of the configured server, as in its URL
 * @param resolve asks for the addresses of a name; the system's own where none is given
 */
export function createGuard(home: string, resolve: Resolver = resolveName): Guard {
  const allowed = new Set<Place>(["public"]);
  let isHomeKnown = false;
  const requireAllowed = (host: string, addresses: readonly string[]) => {
    const places = addresses.map(placeOf);
    if (host === home && !isHomeKnown) {
      isHomeKnown = true;
      for (const place of places) allowed.add(place);
    }
    const foreign = places.find((place) => !allowed.has(place));
    if (foreign !== undefined) throw refusal(foreign);
  };
  return {
    check(hostname) {
      const address = bare(hostname);
      if (isIP(address)) requireAllowed(bare(hostname), [address]);
    },
    lookup(host, options, done) {
      resolve(host, { ...options, all: true }, (error, found) => {
        if (error) return done(error, []);
        try {
          requireAllowed(
            host,
            found.map(({ address }) => address),
          );
        } catch (refused) {
          return done(refused as Error, []);
        }
        if (options.all) done(null, found);
        else done(null, found[0]!.address, found[0]!.family);
      });
    },
  };
}

/** A host of a URL as the resolver knows it: IPv6 without its brackets. */
export const bare = (hostname: string): string => hostname.replace(/^\[(.*)\]$/, "$1");

function refusal(place: Place): PipelineError {
  return new PipelineError(
    "source-refused",
    `the server leads to a ${place} address, where \`url\` itself does not lie; expected public addresses`,
  );
}

/** What `doctor` asks of a web server. */
import type { ProbeDestination } from "./destination.ts";
import { openHttps } from "./https.ts";
import { probePatience, probeStore } from "./store-probe.ts";

export const probeHttps: ProbeDestination = (url, asked) =>
  probeStore(asked, (options) => openHttps(url, options, probePatience));

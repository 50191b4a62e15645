import assert from "node:assert/strict";
import { urlOfFolder } from "../../src/stages/destinations/object-names.ts";
import { stockCommands } from "../../src/cli/stock-commands.ts";

describe("the commands for stock tools", () => {
  const layers = { extension: "csv", compress: "gzip", encrypt: "age" } as const;
  const enter = (url: string) => {
    const destination = urlOfFolder(new URL(url).href, "p/r");
    const run = { destination, pipeline: "p", runId: "r", layers, opensWith: "key" } as const;
    return stockCommands(run).enter;
  };

  it("fetch an export from where it lies", () => {
    assert.equal(enter("s3://bucket/x"), "aws s3 cp --recursive s3://bucket/x/p/r .");
    assert.equal(
      enter("s3://bucket/a%20b/%C3%A9+"),
      "aws s3 cp --recursive 's3://bucket/a b/é+/p/r' .",
    );
    assert.equal(enter("sftp://me@host:2222/a%20b"), "scp -r -P 2222 'me@host:/a b/p/r' . && cd r");
    assert.equal(enter("sftp://me@host/~/x"), "scp -r me@host:x/p/r . && cd r");
    assert.equal(
      enter("azblob://account/container/x"),
      "az storage blob download-batch --account-name account -s container --pattern 'x/p/r/*' -d . && cd x/p/r",
    );
    assert.equal(
      enter("https://host/x"),
      "curl -fo SHA256SUMS https://host/x/p/r/SHA256SUMS && cut -c 67- SHA256SUMS | xargs -I{} curl -fo {} 'https://host/x/p/r/{}'",
    );
    assert.equal(
      enter("https://host/x/{name}/content"),
      "curl -fo SHA256SUMS https://host/x/p/r/SHA256SUMS/content && cut -c 67- SHA256SUMS | xargs -I{} curl -fo {} 'https://host/x/p/r/{}/content'",
    );
    assert.equal(enter("tar:///a%20b/x.tar"), "tar -xf '/a b/x.tar' && cd p/r");
  });
});

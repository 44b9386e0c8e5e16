// Small exchanges over one stream with the defaults of @grpc/grpc-js, or an idle stream with keepalive: arguments as of
// client.py. GRPC_JS names the package's main file.
const grpc = (await import(process.env.GRPC_JS)).default;

const [address, method, what] = process.argv.slice(2);
const idle = what === "idle";
const options = idle ? { "grpc.keepalive_time_ms": 100, "grpc.keepalive_timeout_ms": 600000, "grpc.keepalive_permit_without_calls": 1 } : {};
const client = new grpc.Client(address, grpc.credentials.createInsecure(), options);
const same = (b) => b;
const call = client.makeBidiStreamRequest(method, same, same);
const count = idle ? 2 : Number(what);
let i = 0;
call.on("data", (b) => {
  if (b.toString() !== "ping") throw new Error(`exchange ${i}: ${b}`);
  i++;
  if (i === count) call.end();
  else if (idle) setTimeout(() => call.write(Buffer.from("ping")), 2000);
  else call.write(Buffer.from("ping"));
});
call.on("error", (e) => {
  console.error(`exchange ${i}: ${e}`);
  process.exit(1);
});
call.on("end", () => {
  if (i !== count) process.exit(1);
  console.log("done");
  client.close();
});
call.write(Buffer.from("ping"));

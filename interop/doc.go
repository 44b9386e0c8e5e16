// Package interop proves compatibility: unmodified peers of the upstream implementation against our node.
//
// All tests stand behind the build tag "interop" and need the upstream 3.4.6 programs in the folder that
// $SLIM_PEERS names, python3 with venv, and Node.js with npm, on x86_64 Linux:
//
//	SLIM_PEERS=/path/to/peers go test -tags interop -count 1 -timeout 10m ./interop
//
// Each scenario is a function over a node, run as the subtest "ours" against a fresh build of cmd/slim and
// as "upstream" against $SLIM_PEERS/slim, the control. What the control cannot do is asserted as such, with
// a comment. Delivery is judged by what the receiving application saw, never by acknowledgements, because
// upstream also calls a message acknowledged when its retries ran out.
//
// The language bindings (peers/requirements.txt, peers/package.json) are installed once into the user's
// cache folder. peers/peer.py and peers/peer.mjs drive them by JSON lines in the manner of slim-peer. peers/slim.mjs and
// peers/participant.mjs are an application of ours in a page, for a Chromium.
package interop

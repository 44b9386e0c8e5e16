// Package admin is a node's door for operators: health, metrics, profiles and what its connections do, over HTTP on a
// listener of its own.
//
//	/livez, /readyz    for probes
//	/metrics           for Prometheus
//	/status            a page for people, and /status.json behind it, which slim top shows in a terminal
//	/debug/pprof/      profiles, if Options.Profiles
//
// Nothing here runs on an event loop, and nothing here is needed by one: a node is asked through the interface Node,
// whose answers cost its messages next to nothing. What peers say of themselves is hostile text: it is cut and cleaned
// here, and a page shows it as text only.
package admin

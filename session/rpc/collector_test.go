package rpc

import "runtime/debug"

// Most that tests make is garbage soon: it is collected in larger portions.
func init() { debug.SetGCPercent(400) }

// Package cli holds what the programs have in common: exit codes, the log, what they say of their build, and terminals.
package cli

// Exit codes of the programs, as upstream's.
const (
	ExitOK    = 0
	ExitError = 1 // what was to be done failed
	ExitUsage = 2 // the command line is wrong
)

// Package identity has what an app shows to its node to be let in, in Options.Authorization of package session. It has nothing to do with
// who the app is for other apps: that is Options.Tokens, of which packages jwt and spiffe below have some, each with its own
// dependencies; those packages have further credentials for nodes, too.
package identity

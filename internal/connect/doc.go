// Package connect opens streams of bytes: TCP, unix sockets, and TCP through HTTP CONNECT proxies (RFC 9110 section
// 9.3.6). It knows nothing of what goes over them.
package connect

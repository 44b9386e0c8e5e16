// Package a2aslim lets agents of github.com/a2aproject/a2a-go be served and called over SLIM.
package a2aslim

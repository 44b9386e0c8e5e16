// Package session is conversations of apps over SLIM.
package session

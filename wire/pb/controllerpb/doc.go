// Package controllerpb holds the generated types of package controller.proto.v1 (proto/controller): the control channel between
// nodes and control planes. The service itself is called and served by package internal/agent; nothing here knows gRPC.
package controllerpb

package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
)

// Secured returns c with TLS, as a client with this configuration. It closes c after an error.
func Secured(ctx context.Context, c net.Conn, t *tls.Config) (net.Conn, error) {
	s := tls.Client(c, t)
	if err := s.HandshakeContext(ctx); err != nil {
		_ = c.Close()
		return nil, err
	}
	return s, nil
}

// plain are the credentials of a connection that Plane.Connect has secured, or that need not be.
type plain struct{ secure bool }

func (p plain) ClientHandshake(_ context.Context, _ string, c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return c, plainInfo{}, nil
}

func (p plain) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("agent: not for servers")
}

func (p plain) Info() credentials.ProtocolInfo {
	if p.secure {
		return credentials.ProtocolInfo{SecurityProtocol: "tls"} // requests have the scheme https
	}
	return credentials.ProtocolInfo{SecurityProtocol: "insecure"}
}

func (p plain) Clone() credentials.TransportCredentials { return p }

func (p plain) OverrideServerName(string) error { return nil }

type plainInfo struct{}

func (plainInfo) AuthType() string { return "slim" }

// judge asks g whether the peer of a stream may come.
func judge(ctx context.Context, g *auth.Guard) error {
	if g == nil {
		return nil
	}
	var shown auth.Shown
	if md, ok := metadata.FromIncomingContext(ctx); ok {
		if all := md.Get("authorization"); len(all) > 0 {
			shown.Authorization = all[0]
		}
	}
	if p, ok := peer.FromContext(ctx); ok {
		shown.Remote, shown.Certificates = p.Addr.String(), chain(p.AuthInfo)
	}
	if len(shown.Authorization) > auth.MaxAuthorization {
		return status.Error(codes.Unauthenticated, "the credentials are too long")
	}
	verdict := make(chan auth.Verdict, 1)
	cancel := g.Ask(&shown, func(v auth.Verdict) { verdict <- v })
	var v auth.Verdict
	select {
	case v = <-verdict:
	case <-ctx.Done():
		cancel()
		return ctx.Err()
	}
	switch {
	case v.Denied == nil:
		return nil
	case v.Denied.Status == http.StatusForbidden:
		return status.Error(codes.PermissionDenied, "not allowed")
	case v.Denied.Status == http.StatusServiceUnavailable:
		return status.Error(codes.Unavailable, "it cannot be known now who asks")
	}
	return status.Error(codes.Unauthenticated, "not authenticated")
}

func chain(i credentials.AuthInfo) []*x509.Certificate {
	if t, ok := i.(credentials.TLSInfo); ok {
		return t.State.PeerCertificates
	}
	return nil
}

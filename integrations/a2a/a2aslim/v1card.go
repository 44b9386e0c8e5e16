package a2aslim

import (
	"errors"
	"fmt"

	"github.com/a2aproject/a2a-go/a2a"

	"github.com/seed31b3bfd0/slimgo/integrations/a2a/internal/a2av1"
)

// Cards in A2A 1.0.

func cardTo1(c *a2a.AgentCard) (*a2av1.AgentCard, error) {
	if c == nil {
		return nil, nil
	}
	extensions, err := each(c.Capabilities.Extensions, extensionTo1)
	if err != nil {
		return nil, err
	}
	signatures, err := each(c.Signatures, func(s a2a.AgentCardSignature) (*a2av1.AgentCardSignature, error) {
		header, err := structOf(s.Header)
		return &a2av1.AgentCardSignature{Protected: s.Protected, Signature: s.Signature, Header: header}, err
	})
	if err != nil {
		return nil, err
	}
	card := &a2av1.AgentCard{
		Name: c.Name, Description: c.Description, Version: c.Version, DocumentationUrl: textOf(c.DocumentationURL), IconUrl: textOf(c.IconURL),
		DefaultInputModes: c.DefaultInputModes, DefaultOutputModes: c.DefaultOutputModes, SupportedInterfaces: interfacesTo1(c),
		Capabilities: &a2av1.AgentCapabilities{
			Streaming: &c.Capabilities.Streaming, PushNotifications: &c.Capabilities.PushNotifications,
			ExtendedAgentCard: &c.SupportsAuthenticatedExtendedCard, Extensions: extensions,
		},
		SecurityRequirements: requirementsTo1(c.Security), Signatures: signatures,
	}
	if c.Provider != nil {
		card.Provider = &a2av1.AgentProvider{Organization: c.Provider.Org, Url: c.Provider.URL}
	}
	for _, s := range c.Skills {
		card.Skills = append(card.Skills, &a2av1.AgentSkill{
			Id: s.ID, Name: s.Name, Description: s.Description, Tags: s.Tags, Examples: s.Examples, InputModes: s.InputModes, OutputModes: s.OutputModes,
			SecurityRequirements: requirementsTo1(s.Security),
		})
	}
	for name, s := range c.SecuritySchemes {
		scheme, err := schemeTo1(s)
		if err != nil {
			return nil, fmt.Errorf("the security scheme %q: %w", name, err)
		}
		if card.SecuritySchemes == nil {
			card.SecuritySchemes = map[string]*a2av1.SecurityScheme{}
		}
		card.SecuritySchemes[string(name)] = scheme
	}
	return card, nil
}

// interfacesTo1 lists the agent's interfaces, the preferred one first. Those by SLIMRPC speak both versions: Register has seen to that.
func interfacesTo1(c *a2a.AgentCard) []*a2av1.AgentInterface {
	var list []*a2av1.AgentInterface
	seen := map[a2a.AgentInterface]bool{}
	for _, i := range append([]a2a.AgentInterface{{URL: c.URL, Transport: c.PreferredTransport}}, c.AdditionalInterfaces...) {
		if i.Transport == "" {
			i.Transport = a2a.TransportProtocolJSONRPC // where nothing else is said
		}
		if i.URL == "" || seen[i] {
			continue
		}
		seen[i] = true
		versions := []string{c.ProtocolVersion}
		if isSLIMRPC(i.Transport) {
			versions = []string{version1, version03}
		}
		for _, v := range versions {
			list = append(list, &a2av1.AgentInterface{Url: i.URL, ProtocolBinding: string(i.Transport), ProtocolVersion: v})
		}
	}
	return list
}

func cardFrom1(c *a2av1.AgentCard) (*a2a.AgentCard, error) {
	signatures, _ := each(c.GetSignatures(), func(s *a2av1.AgentCardSignature) (a2a.AgentCardSignature, error) {
		return a2a.AgentCardSignature{Protected: s.GetProtected(), Signature: s.GetSignature(), Header: mapOf(s.GetHeader())}, nil
	})
	extensions, _ := each(c.GetCapabilities().GetExtensions(), func(e *a2av1.AgentExtension) (a2a.AgentExtension, error) {
		return a2a.AgentExtension{URI: e.GetUri(), Description: e.GetDescription(), Required: e.GetRequired(), Params: mapOf(e.GetParams())}, nil
	})
	card := &a2a.AgentCard{
		Name: c.GetName(), Description: c.GetDescription(), Version: c.GetVersion(), DocumentationURL: c.GetDocumentationUrl(), IconURL: c.GetIconUrl(),
		DefaultInputModes: c.GetDefaultInputModes(), DefaultOutputModes: c.GetDefaultOutputModes(),
		Capabilities: a2a.AgentCapabilities{
			Streaming: c.GetCapabilities().GetStreaming(), PushNotifications: c.GetCapabilities().GetPushNotifications(), Extensions: extensions,
		},
		SupportsAuthenticatedExtendedCard: c.GetCapabilities().GetExtendedAgentCard(),
		Security:                          requirementsFrom1(c.GetSecurityRequirements()), Signatures: signatures,
	}
	if p := c.GetProvider(); p != nil {
		card.Provider = &a2a.AgentProvider{Org: p.GetOrganization(), URL: p.GetUrl()}
	}
	seen := map[a2a.AgentInterface]bool{}
	for n, i := range c.GetSupportedInterfaces() {
		each := a2a.AgentInterface{URL: i.GetUrl(), Transport: a2a.TransportProtocol(i.GetProtocolBinding())}
		switch {
		case n == 0:
			card.URL, card.PreferredTransport, card.ProtocolVersion = each.URL, each.Transport, i.GetProtocolVersion()
		case !seen[each]:
			card.AdditionalInterfaces = append(card.AdditionalInterfaces, each)
		}
		seen[each] = true
	}
	for _, s := range c.GetSkills() {
		card.Skills = append(card.Skills, a2a.AgentSkill{
			ID: s.GetId(), Name: s.GetName(), Description: s.GetDescription(), Tags: s.GetTags(), Examples: s.GetExamples(),
			InputModes: s.GetInputModes(), OutputModes: s.GetOutputModes(), Security: requirementsFrom1(s.GetSecurityRequirements()),
		})
	}
	for name, s := range c.GetSecuritySchemes() {
		scheme, err := schemeFrom1(s)
		if err != nil {
			return nil, fmt.Errorf("the security scheme %q: %w", name, err)
		}
		if card.SecuritySchemes == nil {
			card.SecuritySchemes = a2a.NamedSecuritySchemes{}
		}
		card.SecuritySchemes[a2a.SecuritySchemeName(name)] = scheme
	}
	return card, nil
}

func extensionTo1(e a2a.AgentExtension) (*a2av1.AgentExtension, error) {
	params, err := structOf(e.Params)
	return &a2av1.AgentExtension{Uri: e.URI, Description: e.Description, Required: e.Required, Params: params}, err
}

func requirementsTo1(list []a2a.SecurityRequirements) []*a2av1.SecurityRequirement {
	var all []*a2av1.SecurityRequirement
	for _, r := range list {
		schemes := make(map[string]*a2av1.StringList, len(r))
		for name, scopes := range r {
			schemes[string(name)] = &a2av1.StringList{List: scopes}
		}
		all = append(all, &a2av1.SecurityRequirement{Schemes: schemes})
	}
	return all
}

func requirementsFrom1(list []*a2av1.SecurityRequirement) []a2a.SecurityRequirements {
	var all []a2a.SecurityRequirements
	for _, r := range list {
		schemes := make(a2a.SecurityRequirements, len(r.GetSchemes()))
		for name, scopes := range r.GetSchemes() {
			schemes[a2a.SecuritySchemeName(name)] = scopes.GetList()
		}
		all = append(all, schemes)
	}
	return all
}

func schemeTo1(scheme a2a.SecurityScheme) (*a2av1.SecurityScheme, error) {
	switch s := scheme.(type) {
	case a2a.APIKeySecurityScheme:
		return &a2av1.SecurityScheme{Scheme: &a2av1.SecurityScheme_ApiKeySecurityScheme{ApiKeySecurityScheme: &a2av1.APIKeySecurityScheme{
			Description: s.Description, Location: string(s.In), Name: s.Name,
		}}}, nil
	case a2a.HTTPAuthSecurityScheme:
		return &a2av1.SecurityScheme{Scheme: &a2av1.SecurityScheme_HttpAuthSecurityScheme{HttpAuthSecurityScheme: &a2av1.HTTPAuthSecurityScheme{
			Description: s.Description, Scheme: s.Scheme, BearerFormat: s.BearerFormat,
		}}}, nil
	case a2a.OpenIDConnectSecurityScheme:
		return &a2av1.SecurityScheme{Scheme: &a2av1.SecurityScheme_OpenIdConnectSecurityScheme{
			OpenIdConnectSecurityScheme: &a2av1.OpenIdConnectSecurityScheme{Description: s.Description, OpenIdConnectUrl: s.OpenIDConnectURL},
		}}, nil
	case a2a.MutualTLSSecurityScheme:
		return &a2av1.SecurityScheme{Scheme: &a2av1.SecurityScheme_MtlsSecurityScheme{
			MtlsSecurityScheme: &a2av1.MutualTlsSecurityScheme{Description: s.Description},
		}}, nil
	case a2a.OAuth2SecurityScheme:
		return &a2av1.SecurityScheme{Scheme: &a2av1.SecurityScheme_Oauth2SecurityScheme{Oauth2SecurityScheme: &a2av1.OAuth2SecurityScheme{
			Description: s.Description, Oauth2MetadataUrl: s.Oauth2MetadataURL, Flows: flowsTo1(s.Flows),
		}}}, nil
	}
	return nil, fmt.Errorf("it is of type %T", scheme)
}

// flowsTo1 takes the first flow that there is: one is all that 1.0 and 0.3 have on the wire.
func flowsTo1(f a2a.OAuthFlows) *a2av1.OAuthFlows {
	switch {
	case f.AuthorizationCode != nil:
		return &a2av1.OAuthFlows{Flow: &a2av1.OAuthFlows_AuthorizationCode{AuthorizationCode: &a2av1.AuthorizationCodeOAuthFlow{
			AuthorizationUrl: f.AuthorizationCode.AuthorizationURL, TokenUrl: f.AuthorizationCode.TokenURL,
			RefreshUrl: f.AuthorizationCode.RefreshURL, Scopes: f.AuthorizationCode.Scopes,
		}}}
	case f.ClientCredentials != nil:
		return &a2av1.OAuthFlows{Flow: &a2av1.OAuthFlows_ClientCredentials{ClientCredentials: &a2av1.ClientCredentialsOAuthFlow{
			TokenUrl: f.ClientCredentials.TokenURL, RefreshUrl: f.ClientCredentials.RefreshURL, Scopes: f.ClientCredentials.Scopes,
		}}}
	case f.Implicit != nil:
		return &a2av1.OAuthFlows{Flow: &a2av1.OAuthFlows_Implicit{Implicit: &a2av1.ImplicitOAuthFlow{
			AuthorizationUrl: f.Implicit.AuthorizationURL, RefreshUrl: f.Implicit.RefreshURL, Scopes: f.Implicit.Scopes,
		}}}
	case f.Password != nil:
		return &a2av1.OAuthFlows{Flow: &a2av1.OAuthFlows_Password{Password: &a2av1.PasswordOAuthFlow{
			TokenUrl: f.Password.TokenURL, RefreshUrl: f.Password.RefreshURL, Scopes: f.Password.Scopes,
		}}}
	}
	return nil
}

func schemeFrom1(scheme *a2av1.SecurityScheme) (a2a.SecurityScheme, error) {
	switch s := scheme.GetScheme().(type) {
	case *a2av1.SecurityScheme_ApiKeySecurityScheme:
		k := s.ApiKeySecurityScheme
		return a2a.APIKeySecurityScheme{Description: k.GetDescription(), In: a2a.APIKeySecuritySchemeIn(k.GetLocation()), Name: k.GetName()}, nil
	case *a2av1.SecurityScheme_HttpAuthSecurityScheme:
		h := s.HttpAuthSecurityScheme
		return a2a.HTTPAuthSecurityScheme{Description: h.GetDescription(), Scheme: h.GetScheme(), BearerFormat: h.GetBearerFormat()}, nil
	case *a2av1.SecurityScheme_OpenIdConnectSecurityScheme:
		o := s.OpenIdConnectSecurityScheme
		return a2a.OpenIDConnectSecurityScheme{Description: o.GetDescription(), OpenIDConnectURL: o.GetOpenIdConnectUrl()}, nil
	case *a2av1.SecurityScheme_MtlsSecurityScheme:
		return a2a.MutualTLSSecurityScheme{Description: s.MtlsSecurityScheme.GetDescription()}, nil
	case *a2av1.SecurityScheme_Oauth2SecurityScheme:
		o := s.Oauth2SecurityScheme
		return a2a.OAuth2SecurityScheme{
			Description: o.GetDescription(), Oauth2MetadataURL: o.GetOauth2MetadataUrl(), Flows: flowsFrom1(o.GetFlows()),
		}, nil
	}
	return nil, errors.New("it is of no known kind")
}

// flowsFrom1 leaves out flows that 0.3 does not have.
func flowsFrom1(flows *a2av1.OAuthFlows) a2a.OAuthFlows {
	switch f := flows.GetFlow().(type) {
	case *a2av1.OAuthFlows_AuthorizationCode:
		c := f.AuthorizationCode
		return a2a.OAuthFlows{AuthorizationCode: &a2a.AuthorizationCodeOAuthFlow{
			AuthorizationURL: c.GetAuthorizationUrl(), TokenURL: c.GetTokenUrl(), RefreshURL: c.GetRefreshUrl(), Scopes: c.GetScopes(),
		}}
	case *a2av1.OAuthFlows_ClientCredentials:
		c := f.ClientCredentials
		return a2a.OAuthFlows{ClientCredentials: &a2a.ClientCredentialsOAuthFlow{
			TokenURL: c.GetTokenUrl(), RefreshURL: c.GetRefreshUrl(), Scopes: c.GetScopes(),
		}}
	case *a2av1.OAuthFlows_Implicit:
		c := f.Implicit
		return a2a.OAuthFlows{Implicit: &a2a.ImplicitOAuthFlow{
			AuthorizationURL: c.GetAuthorizationUrl(), RefreshURL: c.GetRefreshUrl(), Scopes: c.GetScopes(),
		}}
	case *a2av1.OAuthFlows_Password:
		c := f.Password
		return a2a.OAuthFlows{Password: &a2a.PasswordOAuthFlow{TokenURL: c.GetTokenUrl(), RefreshURL: c.GetRefreshUrl(), Scopes: c.GetScopes()}}
	}
	return a2a.OAuthFlows{}
}

func textOf(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

package main

import (
	"slices"
	"strings"
	"sync"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// everybody is the user name in a privileges table whose row holds for all users without one of their own.
const everybody = "*"

// privileges answers who may do what. It answers questions only: the simulator itself forbids nothing, and
// a call that must be refused is a fault rule.
//
// The table is user, then privilege, then granted or not; a privilege may carry an entity after a slash,
// either a type or the value of a reference (Datastore.FileManagement/datastore-52), and the most exact row
// counts. What the table leaves out is granted.
type privileges struct {
	users *users

	mu    sync.Mutex
	table map[string]map[string]bool
}

func newPrivileges(users *users) *privileges {
	return &privileges{users: users, table: map[string]map[string]bool{}}
}

func (p *privileges) replace(table map[string]map[string]bool) {
	next := make(map[string]map[string]bool, len(table))
	for name, rows := range table {
		if name != everybody {
			name = p.users.canonical(name)
		}
		next[name] = rows
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.table = next
}

func (p *privileges) rows() map[string]map[string]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.table
}

func (p *privileges) granted(user, id string, entity types.ManagedObjectReference) bool {
	table := p.rows()
	for _, name := range []string{p.users.canonical(user), everybody} {
		for _, key := range []string{id + "/" + entity.Value, id + "/" + entity.Type, id} {
			if is, found := table[name][key]; found {
				return is
			}
		}
	}
	return true
}

// take puts the table in the place of the simulator's authorization manager, which grants everything.
func (p *privileges) take(registry *simulator.Registry) {
	for _, found := range registry.AllReference("AuthorizationManager") {
		if manager, is := found.(*simulator.AuthorizationManager); is {
			registry.Put(&authorization{AuthorizationManager: manager, table: p})
		}
	}
}

type authorization struct {
	*simulator.AuthorizationManager
	table *privileges
}

func (a *authorization) availability(user string, entity types.ManagedObjectReference, ids []string) []types.PrivilegeAvailability {
	var list []types.PrivilegeAvailability
	for _, id := range ids {
		list = append(list, types.PrivilegeAvailability{PrivId: id, IsGranted: a.table.granted(user, id, entity)})
	}
	return list
}

func (a *authorization) onEntities(user string, entities []types.ManagedObjectReference, ids []string) []types.EntityPrivilege {
	var list []types.EntityPrivilege
	for _, entity := range entities {
		list = append(list, types.EntityPrivilege{Entity: entity, PrivAvailability: a.availability(user, entity, ids)})
	}
	return list
}

func (a *authorization) HasPrivilegeOnEntities(ctx *simulator.Context, req *types.HasPrivilegeOnEntities) soap.HasFault {
	return &methods.HasPrivilegeOnEntitiesBody{Res: &types.HasPrivilegeOnEntitiesResponse{
		Returnval: a.onEntities(ctx.Session.UserName, req.Entity, req.PrivId),
	}}
}

func (a *authorization) HasUserPrivilegeOnEntities(req *types.HasUserPrivilegeOnEntities) soap.HasFault {
	return &methods.HasUserPrivilegeOnEntitiesBody{Res: &types.HasUserPrivilegeOnEntitiesResponse{
		Returnval: a.onEntities(req.UserName, req.Entities, req.PrivId),
	}}
}

func (a *authorization) HasPrivilegeOnEntity(ctx *simulator.Context, req *types.HasPrivilegeOnEntity) soap.HasFault {
	answers := make([]bool, len(req.PrivId))
	for i, id := range req.PrivId {
		answers[i] = a.table.granted(ctx.Session.UserName, id, req.Entity)
	}
	return &methods.HasPrivilegeOnEntityBody{Res: &types.HasPrivilegeOnEntityResponse{Returnval: answers}}
}

func (a *authorization) FetchUserPrivilegeOnEntities(req *types.FetchUserPrivilegeOnEntities) soap.HasFault {
	var list []types.UserPrivilegeResult
	for _, entity := range req.Entities {
		list = append(list, types.UserPrivilegeResult{Entity: entity, Privileges: a.held(req.UserName, entity)})
	}
	return &methods.FetchUserPrivilegeOnEntitiesBody{Res: &types.FetchUserPrivilegeOnEntitiesResponse{Returnval: list}}
}

// held lists what the Admin role has and the table leaves to the user.
func (a *authorization) held(user string, entity types.ManagedObjectReference) []string {
	var ids []string
	for _, id := range object.AuthorizationRoleList(a.RoleList).ByName("Admin").Privilege {
		if a.table.granted(user, id, entity) {
			ids = append(ids, id)
		}
	}
	return ids
}

// RetrieveEntityPermissions adds a permission for each user. Its role is Admin, or one of the user's own
// that lists exactly what the table leaves to the user on this entity.
func (a *authorization) RetrieveEntityPermissions(ctx *simulator.Context, req *types.RetrieveEntityPermissions) soap.HasFault {
	body := a.AuthorizationManager.RetrieveEntityPermissions(ctx, req).(*methods.RetrieveEntityPermissionsBody)
	admin := object.AuthorizationRoleList(a.RoleList).ByName("Admin")
	permissions := slices.Clone(body.Res.Returnval)
	for _, user := range a.table.users.names() {
		role := admin.RoleId
		if held := a.held(user, req.Entity); len(held) != len(admin.Privilege) {
			role = a.role(user+" on "+req.Entity.Value, held)
		}
		name, domain, _ := strings.Cut(user, "@")
		permissions = append(permissions, types.Permission{
			Entity: &req.Entity, Principal: strings.ToUpper(domain) + `\` + name, RoleId: role, Propagate: true,
		})
	}
	return &methods.RetrieveEntityPermissionsBody{Res: &types.RetrieveEntityPermissionsResponse{Returnval: permissions}}
}

// role runs under the authorization manager's lock, as every method of it does.
func (a *authorization) role(name string, ids []string) int32 {
	next := int32(1000)
	for i := range a.RoleList {
		if a.RoleList[i].Name == name {
			a.RoleList[i].Privilege = ids
			return a.RoleList[i].RoleId
		}
		next = max(next, a.RoleList[i].RoleId+1)
	}
	a.RoleList = append(a.RoleList, types.AuthorizationRole{
		RoleId: next, Name: name, Info: &types.Description{Label: name, Summary: name}, Privilege: ids,
	})
	return next
}

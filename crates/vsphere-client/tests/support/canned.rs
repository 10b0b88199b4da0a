//! Answers of a vCenter, written by hand.

use super::{Say, Seen};

pub const COOKIE: &str = "vmware_soap_session=\"52ab-cookie\"";

pub const VERSIONS: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><namespaces version=\"1.0\">\
    <namespace><name>urn:vim25</name><version>8.0.3.0</version><priorVersions><version>7.0</version>\
    <version>6.7</version></priorVersions></namespace>\
    <namespace><name>urn:vim2</name><version>2.0</version></namespace></namespaces>";

pub fn soap(body: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soapenv:Envelope \
         xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\n<soapenv:Body>\n{body}\n</soapenv:Body>\n\
         </soapenv:Envelope>"
    )
}

pub fn answer(method: &str, inner: &str) -> Say {
    let body = soap(&format!("<{method}Response xmlns=\"urn:vim25\">{inner}</{method}Response>"));
    Say::Http(200, String::new(), body)
}

pub fn fault(name: &str, inner: &str) -> Say {
    let body = soap(&format!(
        "<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>it failed</faultstring><detail>\
         <{name}Fault xmlns=\"urn:vim25\" xsi:type=\"{name}\">{inner}</{name}Fault></detail></soapenv:Fault>"
    ));
    Say::Http(500, String::new(), body)
}

pub fn content(kind: &str, api_version: &str) -> Say {
    answer(
        "RetrieveServiceContent",
        &format!(
            "<returnval><rootFolder type=\"Folder\">group-d1</rootFolder>\
             <propertyCollector type=\"PropertyCollector\">propertyCollector</propertyCollector>\
             <viewManager type=\"ViewManager\">ViewManager</viewManager>\
             <about><name>VMware vCenter Server</name><version>8.0.3</version><build>24022515</build>\
             <apiType>{kind}</apiType><apiVersion>{api_version}</apiVersion>\
             <instanceUuid>i-1</instanceUuid></about>\
             <sessionManager type=\"SessionManager\">SessionManager</sessionManager></returnval>"
        ),
    )
}

pub fn login() -> Say {
    let Say::Http(status, _, body) =
        answer("Login", "<returnval><key>52-key</key><userName>VSPHERE\\me</userName></returnval>")
    else {
        unreachable!()
    };
    Say::Http(status, format!("Set-Cookie: {COOKIE}; Path=/; HttpOnly; Secure\r\n"), body)
}

/// What every vCenter says until somebody asks for its inventory.
pub fn greeting(seen: &Seen) -> Option<Say> {
    Some(match seen.method.as_str() {
        "GET /sdk/vimServiceVersions.xml HTTP/1.1" => Say::Http(200, String::new(), VERSIONS.to_string()),
        "RetrieveServiceContent" => content("VirtualCenter", "8.0.3.0"),
        "Login" => login(),
        "Logout" => answer("Logout", ""),
        "CreateContainerView" => {
            answer("CreateContainerView", "<returnval type=\"ContainerView\">session[1]view-7</returnval>")
        }
        "DestroyView" => answer("DestroyView", ""),
        _ => return None,
    })
}

/// A page of objects, and the token of the next page.
pub fn page(method: &str, objects: &str, token: Option<&str>) -> Say {
    let token = token.map_or(String::new(), |token| format!("<token>{token}</token>"));
    answer(method, &format!("<returnval>{token}{objects}</returnval>"))
}

pub fn object(kind: &str, id: &str, properties: &[(&str, &str)]) -> String {
    let properties: String = properties
        .iter()
        .map(|(name, value)| match value.split_once(':') {
            Some((kind @ ("Folder" | "Datacenter"), id)) => {
                format!("<propSet><name>{name}</name><val type=\"{kind}\" xsi:type=\"ManagedObjectReference\">{id}</val></propSet>")
            }
            _ => format!("<propSet><name>{name}</name><val xsi:type=\"xsd:string\">{value}</val></propSet>"),
        })
        .collect();
    format!("<objects><obj type=\"{kind}\">{id}</obj>{properties}</objects>")
}

pub fn denied_object(kind: &str, id: &str, path: &str) -> String {
    format!(
        "<objects><obj type=\"{kind}\">{id}</obj><missingSet><path>{path}</path><fault>\
         <fault xsi:type=\"NoPermission\"><object type=\"{kind}\">{id}</object>\
         <privilegeId>System.Read</privilegeId></fault><localizedMessage/></fault></missingSet></objects>"
    )
}

pub fn vm(number: u32) -> String {
    object(
        "VirtualMachine",
        &format!("vm-{number}"),
        &[
            ("config.instanceUuid", &format!("50000000-0000-0000-0000-{number:012x}")),
            ("config.uuid", &format!("42000000-0000-0000-0000-{number:012x}")),
            ("guest.hostName", &format!("host-{number}")),
            ("guest.toolsRunningStatus", "guestToolsRunning"),
            ("name", &format!("node-{number}")),
            ("runtime.powerState", "poweredOn"),
        ],
    )
}

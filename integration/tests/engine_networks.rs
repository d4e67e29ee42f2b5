//! Networks that engines make for containers of the runtime under test: bridges, published ports, names, and the
//! network of an ordinary user.
//!
//! Each test is in a network namespace of its own, so that no rule or bridge is the machine's.

use brig_integration::engine::{Docker, IMAGE, Podman};
use brig_integration::{Lab, PATIENCE, need, wait_until};
use nix::mount::{MntFlags, umount2};

/// A server of a page, of 4 letters, on port 80.
const SERVER: &str = "echo page >/tmp/page; exec httpd -f -p 80 -h /tmp";

/// Whether the page is there, seen from the test's network.
fn is_served(lab: &Lab, address: &str) -> bool {
    let url = format!("http://{address}/page");
    wait_until(PATIENCE, || {
        let call = lab.call("busybox").args(["wget", "-q", "-T", "2", "-O", "-", &url]);
        call.go().stdout() == "page\n"
    })
}

#[test]
fn docker_has_networks_names_and_ports() {
    need!(EnginesOfToday);
    let lab = Lab::new();
    lab.own_network();
    let docker = Docker::with_networks(&lab);
    docker.says("network create --subnet 10.79.0.0/24 own").ok();
    let publish = "--publish 127.0.0.1:8081:80 --publish 8082:80";
    docker
        .run(
            &format!("--detach --name web --network own --ip 10.79.0.9 {publish}"),
            &["sh", "-c", SERVER],
        )
        .go()
        .ok();
    for address in ["10.79.0.9", "127.0.0.1:8081", "192.0.2.2:8082"] {
        assert!(is_served(&lab, address), "{address}");
    }
    let script = "wget -q -O - http://web/page; ip -4 -o address show dev eth0; cat /proc/sys/net/ipv4/ip_default_ttl";
    docker
        .sh("--network own --ip 10.79.0.77 --sysctl net.ipv4.ip_default_ttl=33", script)
        .ok()
        .says("page")
        .says("inet 10.79.0.77/24")
        .says("\n33\n");
    // On its own bridge there are no names, and no way to the other one.
    docker
        .sh(
            "--network bridge",
            "ip -4 -o address show dev eth0; ! wget -q -T 1 -O - http://10.79.0.9/page 2>&1",
        )
        .ok()
        .says("inet 172.17.");
    docker.says("network connect bridge web").ok();
    docker.says("exec web ip -4 -o address show dev eth1").ok().says("inet 172.17.");
    docker.says("network disconnect own web").ok();
    docker.says("exec web ip address show dev eth0").failed();
    docker.sh("--network container:web", "wget -q -O - http://127.0.0.1/page").ok().prints("page");
    docker.says("restart --time 0 web").ok();
    docker.says("rm --force web").ok();
    docker.says("network rm own").ok();
    drop(docker);
    lab.assert_clean();
}

#[test]
fn podman_has_networks_and_ports() {
    need!(EnginesOfToday);
    let lab = Lab::new();
    lab.own_network();
    let podman = Podman::start(&lab);
    let run = |name: &str, options: &str, script: &str| {
        let parent = format!("/{}", lab.token());
        let common = ["run", "--cgroups", "no-conmon", "--cgroup-parent", &parent, "--name", name];
        podman.call(&common).args(options.split(' ')).args([IMAGE, "sh", "-c", script]).go()
    };
    podman.says("network create --disable-dns --subnet 10.79.1.0/24 own").ok();
    run("web", "--detach --network own:ip=10.79.1.9 --publish 8083:80", SERVER).ok();
    for address in ["10.79.1.9", "127.0.0.1:8083"] {
        assert!(is_served(&lab, address), "{address}");
    }
    let script = "wget -q -O - http://10.79.1.9/page; ip -4 -o address show dev eth0";
    run("client", "--rm --network own", script).ok().says("page").says("inet 10.79.1.");
    run("two", "--rm --network own --network podman", "ls /sys/class/net")
        .ok()
        .prints("eth0\neth1\nlo");
    podman.says("rm --force --time 0 web").ok();
    podman.says("network rm own").ok();
    drop(podman);
    // Where network namespaces have names: Podman's to make, and nobody's to remove.
    umount2("/run/netns", MntFlags::MNT_DETACH).expect("unmount");
    lab.assert_clean();
}

#[test]
fn an_ordinary_users_podman_has_a_network_by_pasta() {
    need!(EnginesOfToday);
    let lab = Lab::new();
    lab.own_network();
    lab.open_tun();
    let podman = Podman::of_user(&lab);
    let options =
        ["run", "--detach", "--name", "web", "--network", "pasta", "--publish", "8084:80"];
    podman.call(&options).args([IMAGE, "sh", "-c", SERVER]).go().ok();
    assert!(is_served(&lab, "127.0.0.1:8084"));
    podman.says("exec web ip -4 -o address show dev out").ok().says("inet 192.0.2.2/24");
    podman.says("rm --force --time 0 web").ok();
    drop(podman);
    lab.assert_clean();
}

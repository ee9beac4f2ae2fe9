#!/bin/sh
# A machine for one test: in the mount namespace it is started in, its own /etc, /run, /home, /dev and log, with the package's
# PAM module and shell snippets where the package puts them. Usage: machine.sh SCRATCH MODULE PACKAGING; SCRATCH/log is the
# socket that becomes /dev/log. Says `ready` and stays until it is killed.
set -eu
scratch=$1 module=$2 packaging=$3
own="$scratch/own"
mkdir "$own"
mount -t tmpfs tmpfs "$own"
for security in /usr/lib/*/security /usr/lib/security /lib/*/security; do
  [ ! -e "$security/pam_unix.so" ] || break
done
for directory in /etc /var/lib/pam /var/cache/debconf /usr/share/pam-configs /usr/share/fish/vendor_conf.d "$security"; do
  mkdir -p "$own$directory"
  cp -a "$directory/." "$own$directory"
  mount --bind "$own$directory" "$directory"
done
for directory in /run /home /var/log; do
  mount -t tmpfs -o mode=755 tmpfs "$directory"
done
mkdir "$own/dev"
mount --rbind /dev "$own/dev"
mount -t tmpfs -o mode=755 tmpfs /dev
for node in null zero full random urandom tty; do
  : >"/dev/$node"
  mount --bind "$own/dev/$node" "/dev/$node"
done
mkdir /dev/pts
mount -t devpts -o newinstance,ptmxmode=666 devpts /dev/pts
ln -s pts/ptmx /dev/ptmx
: >/dev/log
mount --bind "$scratch/log" /dev/log
ln -s /proc/self/fd /dev/fd

# As its package's scripts do.
groupadd --system keyfob
useradd --system --no-create-home --shell /usr/sbin/nologin --user-group keyfob-agent
install -d -o keyfob-agent -g keyfob -m 750 /run/keyfob
install -m 644 "$module" "$security/pam_keyfob.so"
install -m 644 "$packaging/pam/keyfob" /usr/share/pam-configs/keyfob
install -D -m 644 "$packaging/shell/keyfob.sh" /etc/profile.d/keyfob.sh
install -m 644 "$packaging/shell/keyfob.fish" /usr/share/fish/vendor_conf.d/keyfob.fish
install -D -m 644 "$packaging/shell/zshenv" /etc/keyfob/zshenv
grep '^#   \[\[' "$packaging/shell/zshenv" | sed 's,^#   ,,; s,/usr/share/keyfob/,/etc/keyfob/,g' >>/etc/zsh/zshenv
install -m 755 "$packaging/shell/50-keyfob" /etc/50-keyfob
export DEBIAN_FRONTEND=noninteractive
pam-auth-update --package

# Who logs in: alice is of the session's group, mallory is not.
useradd --create-home --shell /bin/bash --groups keyfob alice
useradd --create-home --shell /bin/bash mallory
# A machine that takes a key of its root, and passwords of nobody.
echo 'alice ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/alice
mkdir -p /run/sshd /home/alice/.ssh /etc/keyfob-test
ssh-keygen -q -t ed25519 -N '' -f /etc/keyfob-test/key
ssh-keygen -q -t ed25519 -N '' -f /etc/keyfob-test/host
cat >/etc/keyfob-test/sshd <<E
HostKey /etc/keyfob-test/host
AuthorizedKeysFile /etc/keyfob-test/key.pub
StrictModes no
PermitRootLogin yes
UsePAM yes
E
echo ready
exec sleep infinity

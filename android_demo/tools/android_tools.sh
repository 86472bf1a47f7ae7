# Shared by building and testing the app: sourced with $demo and $folder set.
app=$demo/app
libraries=$folder/libraries

# fetch NAME FOLDER SIZE: fetches what tools/NAME/pom.xml lists.
fetch() {
  local pom=$demo/tools/$1/pom.xml into=$2 done=$2.done
  if [[ $done -nt $pom ]]; then return; fi
  echo "Downloading about $3 by Maven ..."
  rm -rf "$into"
  # -U: failed downloads are tried again.
  "$demo/tools/retry" mvn -B -q -U -f "$pom" dependency:copy-dependencies -DoutputDirectory="$into"
  touch "$done"
}

fetch_libraries() {
  fetch screens "$libraries" "520 MB of Robolectric, Android, R8 and TFLite"
  local aar
  for aar in "$libraries"/*.aar; do
    unzip -o -q -p "$aar" classes.jar > "${aar%.aar}.classes.jar"
  done
  android=$(ls "$libraries"/android-all-14*.jar)
  r8=$(ls "$libraries"/r8-*.jar)
  jdk=$(realpath "$(dirname "$(realpath "$(command -v javac)")")/..")
}

# An apt with its own lists and archives: nothing is installed and root is not needed.
apt_get() {
  local apt=$folder/apt
  mkdir -p "$apt"/{lists,archives}/partial
  apt-get -qq -o Dir::State::lists="$apt/lists" -o Dir::Cache::archives="$apt/archives" \
    -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o Debug::NoLocking=true \
    -o APT::Sandbox::User=root -o Acquire::Languages=none -o Acquire::Retries=5 \
    -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=0 "$@"
}

# Debian's programs for Android, in the same version for everybody.
fetch_debian() {
  debian=$folder/debian
  local names=(aapt android-framework-res zipalign apksigner) package
  if [[ ! -f $debian.done || "${names[*]}" != "$(< "$debian.done")" ]]; then
    echo "Downloading about 30 MB of Debian's ${names[*]} ..."
    rm -rf "$debian"
    apt_get update
    apt_get install --download-only --yes --no-install-recommends "${names[@]}"
    for package in "$folder"/apt/archives/*.deb; do dpkg -x "$package" "$debian"; done
    rm -rf "$folder/apt"
    echo "${names[*]}" > "$debian.done"
  fi
  framework=$debian/usr/share/android-framework-res/framework-res.apk
  debian_libraries=$(find "$debian" -name '*.so*' -printf '%h\n' | sort -u | paste -sd:)
}

# run_debian PROGRAM ARGUMENT...
run_debian() {
  LD_LIBRARY_PATH=$debian_libraries "$debian/usr/bin/$1" "${@:2}"
}

# link_resources WORK ASSETS: WORK/resources.apk, and R.java in WORK/generated.
link_resources() {
  local work=$1 assets=$2
  rm -rf "$work/generated"
  mkdir -p "$work/generated"
  run_debian aapt2 compile --dir "$app/src/main/res" -o "$work/resources.zip"
  # Gradle takes the package from its namespace, aapt2 from the manifest.
  sed 's/<manifest /&package="org.tfcompress.benchmark" /' \
    "$app/src/main/AndroidManifest.xml" > "$work/AndroidManifest.xml"
  run_debian aapt2 link -I "$framework" -A "$assets" \
    --manifest "$work/AndroidManifest.xml" \
    --min-sdk-version 26 --target-sdk-version 34 \
    --version-code 1 --version-name 1.0 --java "$work/generated" \
    -o "$work/resources.apk" "$work/resources.zip"
}

# compile_app WORK: WORK/classes.
compile_app() {
  local work=$1
  libraries_path=$(ls "$libraries"/*.jar | grep -v -e android-all -e /r8- | paste -sd:)
  rm -rf "$work/classes"
  mkdir -p "$work/classes"
  find "$work/generated" "$app/src/main/java" "$demo/core/src/main/java" -name '*.java' \
    -print0 | xargs -0 javac -nowarn -XDsuppressNotes -Xlint:-options \
    -source 8 -target 8 -encoding UTF-8 -cp "$android:$libraries_path" -d "$work/classes"
}

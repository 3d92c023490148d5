# terraform init && terraform test, in the module's folder

variables {
  role     = "worker"
  shape    = "VM.GPU.A10.2"
  packages = ["phyletic[service]==0.1.0", "timm"]
  torch    = "2.13.0"
  code     = { "train.py" = "cHJpbnQoKQ==" }
  study    = "digits"
  train    = "train.py:train"
  server   = "head.workers.phyletic.oraclevcn.com"
  bucket   = "phyletic"
}

run "a_worker_with_gpus" {
  command = plan
  assert {
    condition     = output.gpus == 2
    error_message = "The number at the end of a GPU shape's name is that of its GPUs."
  }
  assert {
    condition     = yamldecode(output.cloud_init).packages == ["python3-venv", "openssl", "linux-headers-oracle", "nvidia-headless-570-server", "nvidia-utils-570-server"]
    error_message = "A GPU shape gets a driver."
  }
  assert {
    condition     = strcontains(output.cloud_init, "phyletic worker --devices 0,1 grpcs://head.workers.phyletic.oraclevcn.com:7070 digits train.py:train\n")
    error_message = "A worker has a process for each GPU, and reaches the head with TLS."
  }
  assert {
    condition     = strcontains(output.cloud_init, "      torch==2.13.0\n      phyletic[service]==0.1.0\n      timm\n")
    error_message = "pip installs torch and the packages."
  }
  assert {
    condition     = [for file in yamldecode(output.cloud_init).write_files : file.content if file.path == "/var/lib/phyletic/work/train.py"] == ["cHJpbnQoKQ=="]
    error_message = "The code is written."
  }
  assert {
    condition     = length(output.user_data) < 16000
    error_message = "A machine's metadata has room for it."
  }
}

run "a_worker_without_gpus" {
  command = plan
  variables {
    shape = "VM.Standard.E5.Flex"
    torch = null
  }
  assert {
    condition     = output.gpus == 0 && !strcontains(output.cloud_init, "nvidia") && !strcontains(output.cloud_init, "torch")
    error_message = "Other shapes get neither driver nor torch."
  }
  assert {
    condition     = strcontains(output.cloud_init, "phyletic worker --workers 1 grpcs://")
    error_message = "It has one process."
  }
}

run "a_head" {
  command = plan
  variables {
    role  = "head"
    shape = "VM.Standard.E5.Flex"
    torch = null
    study = null
    train = null
  }
  assert {
    condition     = strcontains(output.cloud_init, "phyletic serve sqlite:////var/lib/phyletic/studies.db --host 0.0.0.0 --tls-certificate /etc/phyletic/server.crt --tls-key /etc/phyletic/server.key\n")
    error_message = "A head serves with TLS."
  }
  assert {
    condition     = !strcontains(output.cloud_init, "--name server.key")
    error_message = "The private key stays on the head."
  }
}

run "a_machine_that_is_alone" {
  command = plan
  variables {
    role   = "alone"
    shape  = "VM.GPU.A10.1"
    study  = "train.py:study"
    server = null
    bucket = null
  }
  assert {
    condition     = strcontains(output.cloud_init, "phyletic run --devices 0 train.py:study train.py:train\n")
    error_message = "It runs the study by itself."
  }
  assert {
    condition     = !strcontains(output.cloud_init, "oci-cli") && can(yamldecode(output.cloud_init))
    error_message = "It needs no bucket."
  }
}

run "a_role_that_does_not_exist" {
  command = plan
  variables {
    role = "boss"
  }
  expect_failures = [var.role]
}

run "a_shape_that_is_none" {
  command = plan
  variables {
    shape = "A10 x 1"
  }
  expect_failures = [var.shape]
}

run "a_package_that_would_be_more_than_one_line" {
  command = plan
  variables {
    packages = ["phyletic\n- path: /etc/passwd"]
  }
  expect_failures = [var.packages]
}

run "a_driver_that_does_not_exist" {
  command = plan
  variables {
    driver = "latest; reboot"
  }
  expect_failures = [var.driver]
}

run "a_torch_without_a_version" {
  command = plan
  variables {
    torch = "latest"
  }
  expect_failures = [var.torch]
}

run "code_outside_of_its_folder" {
  command = plan
  variables {
    code = { "../../etc/passwd" = "" }
  }
  expect_failures = [var.code]
}

run "a_worker_without_a_study" {
  command = plan
  variables {
    study = null
    train = "train"
  }
  expect_failures = [var.study, var.train]
}

run "a_worker_without_a_head" {
  command = plan
  variables {
    server = null
    bucket = "a b"
  }
  expect_failures = [var.server, var.bucket]
}

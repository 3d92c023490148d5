variable "region" {
  description = "The region, such as eu-frankfurt-1; the home region, since roles are made there."
  type        = string
  validation {
    condition     = can(regex("^[a-z]+-[a-z]+-[0-9]+$", var.region))
    error_message = "The region must be a name such as eu-frankfurt-1."
  }
}

variable "tenancy_ocid" {
  description = "The tenancy, which holds the dynamic groups."
  type        = string
  validation {
    condition     = startswith(var.tenancy_ocid, "ocid1.tenancy.")
    error_message = "The tenancy must be an OCID that begins with ocid1.tenancy."
  }
}

variable "compartment_ocid" {
  description = "A compartment for this plan alone: every machine in it may read the workers' token."
  type        = string
  validation {
    condition     = startswith(var.compartment_ocid, "ocid1.compartment.")
    error_message = "The compartment must be an OCID that begins with ocid1.compartment."
  }
}

variable "availability_domain" {
  description = "Which of the region's availability domains, from 1 on."
  type        = number
  default     = 1
  validation {
    condition     = contains([1, 2, 3], var.availability_domain)
    error_message = "The availability domain must be 1, 2 or 3."
  }
}

variable "name" {
  description = "Begins the names of all that is made."
  type        = string
  default     = "phyletic"
  validation {
    condition     = can(regex("^[a-z][a-z0-9]{0,14}$", var.name))
    error_message = "The name must have 1 to 15 letters and digits, since it is also part of the network's domain."
  }
}

variable "ssh_public_key" {
  description = "Your public key, to log in as ubuntu."
  type        = string
  validation {
    condition     = can(regex("^(ssh|ecdsa)-[a-z0-9-]+ [A-Za-z0-9+/=]+", var.ssh_public_key))
    error_message = "The key must be a line of an OpenSSH .pub file."
  }
}

variable "ssh_from" {
  description = "The addresses from which ssh is allowed, such as 192.0.2.7/32."
  type        = string
  validation {
    condition     = can(cidrhost(var.ssh_from, 0)) && var.ssh_from != "0.0.0.0/0"
    error_message = "The addresses must be a range such as 192.0.2.7/32, and not all there are."
  }
}

variable "head_shape" {
  description = "The head's shape; it decides and stores, and trains nothing."
  type        = string
  default     = "VM.Standard.E5.Flex"
}

variable "worker_shape" {
  description = "The workers' shape, such as VM.GPU.A10.1. Oracle has no preemptible capacity for bare metal."
  type        = string
  validation {
    condition     = startswith(var.worker_shape, "VM.")
    error_message = "The workers' shape must be that of a virtual machine."
  }
}

variable "workers" {
  description = "How many preemptible machines train. Apply the plan again to replace those that were taken away."
  type        = number
  default     = 2
  validation {
    condition     = var.workers >= 0 && var.workers <= 200 && floor(var.workers) == var.workers
    error_message = "The number of workers must be a whole number from 0 to 200."
  }
}

variable "flexible" {
  description = "Processors (OCPUs) and memory of machines whose shape ends in .Flex."
  type        = object({ ocpus = number, memory_in_gbs = number })
  default     = { ocpus = 2, memory_in_gbs = 16 }
  validation {
    condition     = var.flexible.ocpus >= 1 && var.flexible.memory_in_gbs >= var.flexible.ocpus
    error_message = "A flexible shape has at least one OCPU, and at least 1 GB for each."
  }
}

variable "packages" {
  description = "What pip installs on all machines, such as [\"phyletic[service] @ https://example.org/phyletic-0.1.0-py3-none-any.whl\"]."
  type        = list(string)
}

variable "torch" {
  description = "The version of torch on workers; null for none."
  type        = string
  default     = "2.13.0"
}

variable "driver" {
  description = "The branch of NVIDIA's driver on workers with GPUs."
  type        = string
  default     = "570-server"
}

variable "code" {
  description = "A folder with the training code; at most 12 kB of files, more belongs into a package."
  type        = string
}

variable "study" {
  description = "The name of the study."
  type        = string
}

variable "train" {
  description = "MODULE:FUNCTION of the training code, such as train.py:train."
  type        = string
}
